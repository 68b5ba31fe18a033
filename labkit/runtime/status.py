"""What `cluster.status()` shows: one row a rank, as plain data."""

from __future__ import annotations

import os
from typing import Any

import psutil

from labkit.runtime.driver import Driver, Seat


def rows(driver: Driver) -> list[dict[str, Any]]:
    return [_row(seat, driver.placement.ranks[seat.rank].device) for seat in driver.seats.values()]


def _row(seat: Seat, device: str) -> dict[str, Any]:
    alive = seat.state != "dead"
    return {
        "rank": seat.rank,
        "state": seat.state if alive or seat.died is None else str(seat.died.signal or "ended"),
        "doing": seat.doing,
        "step": seat.step,
        "view": seat.view.number,
        "device": device,
        "pid": seat.pid,
        "memory_mb": memory_mb(seat.pid) if alive and seat.pid else None,
        "life": seat.life,
    }


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
