"""What is seen of a test's processes and files from outside, by pid and by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

from labkit import Cluster


def workers(root: int | None = None) -> list[psutil.Process]:
    """All processes below `root` but the fork server itself, which serves the next cluster."""
    try:
        below = psutil.Process(root or os.getpid()).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [p for p in below if not is_fork_server(p) and p.status() != psutil.STATUS_ZOMBIE]


def is_fork_server(process: psutil.Process) -> bool:
    """The server was started by us; its children, which look the same, were started by it."""
    try:
        name = "labkit.runtime.launch.forkserver"
        parent = process.parent()
        return name in process.cmdline() and (parent is None or name not in parent.cmdline())
    except psutil.NoSuchProcess:
        return False


def listening() -> list[int]:
    """The ports on which this process listens."""
    connections = psutil.Process().net_connections(kind="inet")
    return [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN]


def wait_until(true: object, message: str, seconds: float = 20.0) -> None:
    """Polls for a state that has no event to wait for, such as the end of a stranger's process."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, message
        time.sleep(0.01)


def running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def held(inodes: set[int]) -> list[str]:
    """Who is in one of these namespaces, or has a descriptor of one."""
    found = []
    for process in psutil.pids():
        links = [*Path(f"/proc/{process}/task").glob("*/ns/net")]
        links += Path(f"/proc/{process}/fd").glob("*")
        for link in links:
            try:
                target = os.readlink(link)
            except OSError:  # it has ended
                continue
            if any(target == f"net:[{inode}]" for inode in inodes):
                found.append(str(link))
    return found


def write_program(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


class Container:
    """`prefix` is a program that runs others, as containers do, and writes down their pids."""

    def __init__(self, folder: Path) -> None:
        self.began = folder / "began inside"
        note = f"echo $$ >> '{self.began}'"  # exec keeps the number
        self.prefix = write_program(folder / "container", note, 'exec env "$@"')

    def missing(self, cluster: Cluster) -> dict[int, int | None]:
        """The processes of ranks, and of the witness, that did not begin inside, by rank."""
        inside = set(map(int, self.began.read_text().split()))
        seats = cluster._driver.seats.items()
        return {rank: seat.pid for rank, seat in seats if seat.pid not in inside}
