"""Nothing may be left behind: checked from outside, by pid, after every test of the runtime."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import listening, shared_memory, wait_until, workers

from labkit import Cluster


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    before = shared_memory()
    yield
    gc.collect()  # a cluster that a failed test's frame still held
    wait_until(lambda: not workers(), "workers of the test still run")
    assert not listening(), "a port is still open"
    assert shared_memory() <= before, "shared memory was left behind"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(4, deadline=20.0, patience=20.0) as cluster:
        yield cluster
