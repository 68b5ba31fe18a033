"""What the doctor measures, in seconds and bytes."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from labkit.disk import RealDisk
from labkit.runtime.address import route_to
from labkit.runtime.launch import local, namespaces
from labkit.runtime.launch.network import Network
from labkit.runtime.urgency import go_first


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def mpiexec() -> str | None:
    beside = Path(sys.executable).with_name("mpiexec")
    program = str(beside) if beside.exists() else shutil.which("mpiexec")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    return (said.stdout or said.stderr).strip().splitlines()[0]


def nccl() -> str | None:
    """Its version, as the package that torch brings has it."""
    return next(filter(None, map(version_of, ("nvidia-nccl-cu13", "nvidia-nccl-cu12"))), None)


def fork_server() -> tuple[float, str]:
    """Seconds until the process that forks the ranks has imported torch, or is found at work
    already; and what it said where it did not start."""
    from labkit.runtime.cluster import driver_loop

    began, error = time.monotonic(), ""
    try:
        local.get_ready(driver_loop())
    except RuntimeError as failed:
        error = str(failed)
    return time.monotonic() - began, error


def slurm() -> tuple[str | None, int | None, str | None]:
    """Its version, how many nodes its controller knows, and the job in which this process is."""
    if shutil.which("sinfo") is None:
        return None, None, None
    version = _said("sinfo", "--version") or "slurm"  # it tells no version without a configuration
    nodes = _said("sinfo", "-h", "-N", "-o", "%N")
    count = None if nodes is None else len(set(nodes.split()))
    return version.strip(), count, os.environ.get("SLURM_JOB_ID")


def _said(*command: str) -> str | None:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return None
    return said.stdout if said.returncode == 0 else None


def address() -> tuple[str | None, str]:
    """This host's on the way to others (an address that is nobody's: RFC 5737; nothing is sent),
    and what its name means."""
    try:
        route = route_to("192.0.2.1")
    except OSError:
        route = None
    try:
        return route, socket.gethostbyname(socket.gethostname())
    except OSError:
        return route, "nothing"


def ports(tries: int = 64) -> tuple[float, int, int]:
    """The share of so many ports, spread over the kernel's range, that can be had; the range."""
    range_ = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first, last = map(int, range_.read_text().split()) if range_.exists() else (49152, 65535)
    spread = [first + k * (last - first) // tries for k in range(tries)]
    return sum(map(_is_free, spread)) / tries, first, last


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free_space(folder: Path) -> int:
    """Bytes where the folder is, or will be."""
    return shutil.disk_usage(folder).free if folder.exists() else free_space(folder.parent)


def free_shared_memory() -> int | None:
    folder = Path("/dev/shm")
    return shutil.disk_usage(folder).free if folder.exists() else None


def time_fsync(folder: Path, times: int = 200) -> list[float]:
    """Seconds of so many small appends with their fsync, in a folder like those of the nodes."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="doctor-") as place:
        disk = RealDisk(place)
        try:
            return [_timed(lambda: _append(disk)) for _ in range(times)]
        finally:
            disk.close()


def _append(disk: RealDisk) -> None:
    disk.append("journal", bytes(100))
    disk.fsync("journal")


def time_timers(times: int = 100, wait: float = 0.002) -> list[float]:
    """By how many seconds a wait of 2 ms is late."""
    return [_timed(lambda: time.sleep(wait)) - wait for _ in range(times)]


def may_go_first() -> bool:
    """Whether a thread of this user gets real-time priority; tried in one that then ends."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(go_first).result()


def time_loopback(times: int = 200) -> list[float]:
    """Seconds of a message of 64 bytes and its answer, between two sockets of this process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname(), timeout=5.0)
        there = server.accept()[0]
    with here, there:
        for end in (here, there):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def answer() -> None:
            while data := there.recv(64):
                there.sendall(data)

        echo = threading.Thread(target=answer, daemon=True)
        echo.start()
        took = [_timed(lambda: _there_and_back(here)) for _ in range(times)]
        here.shutdown(socket.SHUT_RDWR)
        echo.join(5.0)
    return took


def _there_and_back(sock: socket.socket) -> None:
    sock.sendall(bytes(64))
    got = 0
    while got < 64:
        got += len(sock.recv(64))


def time_name() -> tuple[float, str]:
    """Seconds to look up this host's own name, and what was found."""
    name = socket.gethostname()
    begin = time.monotonic()
    try:
        found = str(socket.getaddrinfo(name, None)[0][4][0])
    except OSError as error:
        found = str(error)
    return time.monotonic() - begin, f"{name}: {found}"


def why_no_hosts() -> str | None:
    """What keeps `Cluster(hosts="namespaces")` from working, if anything does: makes two hosts."""
    if reason := namespaces.why_not():
        return reason
    try:
        network = Network()
        network.add()
        network.close()
    except Exception as error:
        return f'hosts="namespaces" does not work: {error}'
    return None


def left_behind() -> list[str]:
    """Processes of this lab whose driver is gone, as `pid (age)`."""
    ours = ("labkit.runtime.launch.forkserver", "labkit.worker")
    left = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline", "create_time", "uids"]):
        words = process.info["cmdline"] or []
        orphan = process.info["ppid"] == 1 and any(word in ours for word in words)
        if orphan and process.info["uids"] and process.info["uids"].real == os.getuid():
            minutes = (time.time() - process.info["create_time"]) / 60
            left.append(f"{process.info['pid']} ({minutes:.0f} min)")
    return left


def _timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin
