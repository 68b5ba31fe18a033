"""Runs in which the cluster's own nodes write down what they handle, and what the model says."""

from __future__ import annotations

import pytest

from labkit import Cluster
from labkit.protocols.checkpoints import SAVERS, Saver
from labkit.runtime.membership import GROUP, agreeing, beating
from labkit.simulator.checkpoints import COMMITS
from labkit.simulator.invariants.views import INVARIANTS
from labkit.simulator.replay import Replay, replay


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_TRACE", "1")


def allowed(cluster: Cluster, silence: float | None) -> Replay:
    """Plays all that was handled in this run, which has ended: every election, view and commit of a
    checkpoint, with all invariants of Raft, the views and two-phase commit; and the heartbeats."""
    assert cluster.directory is not None
    folder = cluster.directory / "handled"
    if silence is not None:
        replay(beating(silence), folder.glob("beats.*"))
    savers = dict.fromkeys(range(SAVERS, SAVERS + cluster.world_size), Saver)
    files = folder.glob(f"{GROUP}.*")
    return replay(agreeing(silence), files, (*INVARIANTS, *COMMITS), savers)
