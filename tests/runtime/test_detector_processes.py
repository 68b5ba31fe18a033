"""Failure detectors on real processes: SIGSTOP, SIGKILL, a new life, a training thread that hangs;
and what the nodes were given to handle is replayed through the model with all D invariants on."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from outside import wait_until

from labkit import Cluster
from labkit.protocols.heartbeat import FixedTimeout, Heartbeat, PhiAccrual
from labkit.runtime.run import Run
from labkit.simulator.heard import beats, between, of_beats
from labkit.simulator.invariants import detectors
from labkit.simulator.replay import Replay, replay

TIMEOUT = partial(Heartbeat, detector=partial(FixedTimeout, timeout=0.3))
PHI = partial(Heartbeat, detector=PhiAccrual)


def rest(worker: Any) -> None:
    while True:
        time.sleep(0.01)


def say(run: Run, word: str, peer: int, ranks: set[int], since: float = 0.0) -> None:
    """Waits until all these ranks have said so of that peer."""

    def said() -> set[int]:
        about = [e for e in run.events if e.kind == word and e.data["peer"] == peer]
        return {e.rank for e in about if e.time >= since}

    wait_until(lambda: said() >= ranks, f"{word} of rank {peer} by {ranks}")


def all_hear_all(cluster: Cluster, group: str) -> None:
    """Until then a rank may be suspected because it has not started yet."""
    assert cluster.directory is not None
    folder, n = cluster.directory, cluster.world_size
    wait_until(lambda: len(beats(folder, group)) == n * (n - 1), "some rank has not been heard")


def modelled(protocol: Any, folder: Path | None, group: str) -> Replay:
    assert folder is not None
    files = sorted((folder / "handled").glob(f"{group}.*"))
    return replay(protocol, files, detectors.HEARTBEAT)


def test_pauses_deaths_and_new_lives_are_noticed_and_the_model_allows_every_step() -> None:
    with Cluster(3, backend="gloo", device="cpu", protocols={"t": TIMEOUT, "phi": PHI}) as cluster:
        run = cluster.run(rest)
        all_hear_all(cluster, "t")
        all_hear_all(cluster, "phi")
        paused = time.monotonic()
        cluster.pause(1)
        say(run, "suspect", 1, {0, 2}, since=paused)  # not by a mistake of before
        resumed = time.monotonic()
        cluster.resume(1)
        say(run, "trust", 1, {0, 2}, since=resumed)
        killed = time.monotonic()
        cluster.kill(2)
        say(run, "suspect", 2, {0, 1}, since=killed)
        restarted = time.monotonic()
        cluster.restart(2)
        say(run, "trust", 2, {0, 1}, since=restarted)
    for group, protocol in (("t", TIMEOUT), ("phi", PHI)):
        model = modelled(protocol, cluster.directory, group)
        assert model.lives == 4
        assert model.node(2).life == 2


def test_any_detector_can_listen_to_the_beats_that_came() -> None:
    with Cluster(3, backend="gloo", device="cpu", protocols={"t": TIMEOUT}) as cluster:
        run = cluster.run(rest)
        all_hear_all(cluster, "t")
        begin = time.monotonic()
        cluster.pause(1)
        say(run, "suspect", 1, {0, 2}, since=begin)  # not by a mistake of before
        resumed = time.monotonic()
        cluster.resume(1)
        say(run, "trust", 1, {0, 2}, since=resumed)
        end = time.monotonic()
    assert cluster.directory is not None
    heard = beats(cluster.directory, "t")
    assert set(heard) == {(a, b) for a in range(3) for b in range(3) if a != b}
    of_one = {pair: came for pair, came in heard.items() if pair[1] == 1}
    silence = of_beats(partial(FixedTimeout, timeout=0.15), between(of_one, begin - 1, end + 1))
    assert len(silence.mistakes) >= 2
    assert max(silence.mistakes) >= 0.1
    patient = of_beats(partial(FixedTimeout, timeout=60.0), between(heard, begin - 1, end + 1))
    assert patient.mistakes == ()
    assert 59 < patient.detection <= 60


def stands_still(worker: Any) -> None:
    """One rank never comes to the meeting point at which the others wait."""
    worker.group.all_reduce(worker.tensor(1))  # all are here
    worker.progress(1)
    while worker.rank == 1:
        time.sleep(0.01)
    worker.progress(2)
    rest(worker)


def test_a_rank_that_beats_and_does_not_work_is_suspected_and_those_that_wait_are_not() -> None:
    patient = partial(FixedTimeout, timeout=30.0)
    detector = partial(Heartbeat, detector=patient, stuck=1.0)  # a busy machine lets wait, too
    with Cluster(3, backend="gloo", device="cpu", protocols={"detector": detector}) as cluster:
        run = cluster.run(stands_still)
        say(run, "suspect", 1, {0, 2})
        assert {e.data["peer"] for e in run.events if e.kind == "suspect"} == {1}
    model = modelled(detector, cluster.directory, "detector")
    assert all(model.node(i).suspected <= {1} for i in (0, 2))
