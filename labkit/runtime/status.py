"""What `cluster.status()` shows: one row a rank, as plain data."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import psutil

from labkit.runtime.driver import Driver
from labkit.runtime.seat import Seat
from labkit.runtime.spares import Spare


def rows(driver: Driver) -> list[dict[str, Any]]:
    """The columns that `labkit.views.status` knows; a GPU's only for ranks that have one."""
    placement = driver.placement
    gpu = gpu_memory_mb() if any(home.device != "cpu" for home in placement.ranks) else {}
    ranks = [
        _row(s, placement.home(s.rank).device, gpu, driver.launcher.here(s.host))
        for s in driver.seats.values()
    ]
    return ranks + [_spare(spare) for spare in driver.supervisor.spares.waiting()]


def _spare(spare: Spare) -> dict[str, Any]:
    pid = spare.hello.pid if spare.hello is not None else None
    memory = None if pid is None else memory_mb(pid)
    return {"rank": "spare", "state": "ready", "pid": pid, "memory_mb": memory}


def _row(seat: Seat, device: str, gpu: dict[int, float], here: bool) -> dict[str, Any]:
    alive = seat.state != "dead"
    ahead = seat.host_clock.ahead
    elsewhere = seat.host not in ("", os.uname().nodename)
    return {
        "rank": "witness" if seat.witness else seat.rank,
        "state": seat.state if alive or seat.died is None else str(seat.died.signal or "ended"),
        "doing": seat.doing,
        "step": seat.step,
        "slow": f"{seat.slow:.1f} ×" if seat.slow > 1 else None,
        "view": None if seat.witness else seat.view.number,
        "device": device,
        "host": seat.host if elsewhere else None,
        "clock": str(ahead) if ahead is not None and ahead.proven else None,
        "pid": seat.pid,
        "life": seat.life,
        "memory_mb": memory_mb(seat.pid) if alive and seat.pid and here else None,
        "gpu_memory_mb": gpu.get(seat.pid or 0),
    }


def gpu_memory_mb() -> dict[int, float]:
    """Megabytes of GPU memory by process, as `nvidia-smi` tells them; nothing without it."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return {}
    query = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([command, *query], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:  # the driver of a sick GPU; the table is worth having anyway
        return {}
    pairs = (line.split(",") for line in done.stdout.splitlines() if line.count(",") == 1)
    return {int(pid): float(used) for pid, used in pairs if used.strip().isdigit()}


def memory_mb(pid: int) -> float | None:
    """Megabytes of a process: its proportional share (PSS) where the system tells it, so that
    what forked workers share counts once; else the resident size."""
    try:
        process = psutil.Process(pid)
        if os.environ.get("LABKIT_PORTABLE") != "1" and hasattr(process, "memory_full_info"):
            info = process.memory_full_info()
            return getattr(info, "pss", info.rss) / 1e6
        return process.memory_info().rss / 1e6
    except psutil.Error:
        return None
