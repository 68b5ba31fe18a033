"""Nothing may be left behind: checked from outside, by pid, after every test of the runtime."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import patient
import pytest
from leftovers import shared_memory
from outside import listening, wait_until, workers

from labkit import Cluster
from labkit.protocols.effects import Protocol


@pytest.fixture(autouse=True, scope="module")
def sent_by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """The functions of a test go to the ranks as a notebook's do. By name, each rank would import
    the test's module and pytest with it: 0.15 s of a processor for each rank of each cluster.
    Protocols go by name: what their annotations mean is known in their module alone."""
    module = request.module
    types = [kind for kind in vars(module).values() if isinstance(kind, type)]
    if any(issubclass(kind, Protocol) and kind.__module__ == module.__name__ for kind in types):
        yield
        return
    for sent in (module, patient):
        cloudpickle.register_pickle_by_value(sent)
    yield
    for sent in (module, patient):
        cloudpickle.unregister_pickle_by_value(sent)


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
