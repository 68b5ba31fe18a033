"""Nothing may be left behind: checked from outside, by pid, after every test of the runtime."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit import Cluster


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    before = shared_memory()
    yield
    gc.collect()  # a cluster that a failed test's frame still held
    wait_until(lambda: not workers(), "workers of the test still run")
    assert shared_memory() <= before, "shared memory was left behind"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(4, deadline=20.0, patience=20.0) as cluster:
        yield cluster


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


def shared_memory() -> set[str]:
    places = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    return {str(f) for place in places if place.exists() for f in place.glob("labkit*")}


def wait_until(true: object, message: str, seconds: float = 20.0) -> None:
    """Polls for a state that has no event to wait for, such as the end of a stranger's process."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, message
        time.sleep(0.01)
