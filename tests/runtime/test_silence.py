"""Silence as a sign of death: `Cluster(silence=…)`. Without it only a closed connection counts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from outside import wait_until

from labkit import Cluster
from labkit.doctor.measure import may_go_first
from labkit.runtime import placement
from labkit.training.loop import train

SILENCE = 1.2
"""Seconds; long enough for a test machine whose cores are all busy."""


@pytest.fixture
def watched() -> Iterator[Cluster]:
    with Cluster(4, silence=SILENCE) as cluster:
        yield cluster


def training(worker: Any) -> int:
    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(1000), 0
    while step < 1_000_000:
        step += 1
        worker.step(step)
        try:
            group.all_reduce(tensor)
        except PeerLost:
            group = worker.regroup()
    return step


def members(cluster: Cluster, rank: int) -> tuple[int, ...]:
    return cluster._driver.seats[rank].view.members


@pytest.mark.case(9)
def test_a_rank_that_stands_still_is_out_and_ends_when_it_goes_on(watched: Cluster) -> None:
    run = watched.run(training)
    run.wait_step(5)

    watched.pause(2)
    wait_until(lambda: members(watched, 0) == (0, 1, 3), "rank 2 is still in the view")
    reached = run.steps[0]
    wait_until(lambda: run.steps[0] > reached + 20, "the others do not go on")
    watched.resume(2)

    wait_until(lambda: 2 in run.deaths, "rank 2 goes on as if nothing had been")
    assert (run.deaths[2].signal, run.deaths[2].code) == (None, 1)
    notes = [e.name for e in run.events if e.kind == "note" and e.rank == 2]
    assert "taken for dead" in notes[-1]
    run.wait_step(max(run.steps.values()) + 20)
    run.cancel()
    watched.restart(2)
    assert members(watched, 0) == (0, 1, 2, 3)


def test_a_leader_that_stands_still_is_replaced_and_leads_again(watched: Cluster) -> None:
    """The witness leads. While it stands still the ranks agree without it."""
    run = watched.run(training)
    run.wait_step(5)

    watched.pause(watched.witness)
    watched.kill(1)
    wait_until(lambda: members(watched, 0) == (0, 2, 3), "no view without the witness")
    watched.resume(watched.witness)
    watched.kill(3)

    wait_until(lambda: members(watched, 0) == (0, 2), "no view with the witness")
    run.wait_step(max(run.steps.values()) + 20)
    run.cancel()
    assert watched._driver.seats[watched.witness].state == "ready"


@pytest.mark.case(16)
def test_a_rank_of_which_only_the_heartbeats_are_lost_is_out_once(watched: Cluster) -> None:
    """Its collectives and its votes go on: there is one view without it, and it ends."""

    def mute(worker: Any) -> int:
        if worker.rank == 2:
            engine = worker._host._engine
            send = engine.send
            engine.send = lambda to, said: None if said.group == "beats" else send(to, said)
        return training(worker)

    run = watched.run(mute)

    wait_until(lambda: members(watched, 0) == (0, 1, 3), "rank 2 is still in the view")
    wait_until(lambda: 2 in run.deaths, "rank 2 goes on as if nothing had been")
    run.wait_step(max(run.steps.values()) + 20)
    run.cancel()
    views = {(e.data["number"], tuple(e.data["members"])) for e in run.events if e.kind == "view"}
    assert len({number for number, _ in views}) == len(views), "a number has two views"
    # The view of all four is older than this run, if the cluster has been there for a moment. And a
    # connection that one of them closed a beat before the others gives a view of the same ranks.
    assert {ranks for _, ranks in views} - {(0, 1, 2, 3)} == {(0, 1, 3)}
    assert len(views) <= 3
    assert list(run.deaths) == [2]
    watched.restart(2)
    assert members(watched, 0) == (0, 1, 2, 3)


@pytest.mark.case(17)
def test_of_two_halves_only_the_one_with_the_witness_goes_on(watched: Cluster) -> None:
    """Where hosts cannot be made: the lab's own links are cut. With real networks, and three
    against one: test_namespaces."""
    run = watched.run(training)
    run.wait_step(5)

    watched.partition([0, 1, watched.witness], [2, 3])
    wait_until(lambda: members(watched, 0) == (0, 1), "the other half is still in the view")
    run.wait_step(max(run.steps.values()) + 20)
    stuck = {rank: run.steps[rank] for rank in (2, 3)}
    run.wait_step(max(run.steps.values()) + 20)
    assert {rank: run.steps[rank] for rank in (2, 3)} == stuck

    watched.heal()
    wait_until(lambda: set(run.deaths) == {2, 3}, "who was cut off has not ended")
    run.cancel()
    watched.restart(2, 3)
    assert members(watched, 0) == (0, 1, 2, 3)


@pytest.mark.case(20)
def test_late_messages_are_no_silence(watched: Cluster) -> None:
    run = watched.run(training)
    run.wait_step(5)

    for source in range(4):
        for target in range(4):
            if source != target:
                watched.delay(source, target, 0.2)
    run.wait_step(max(run.steps.values()) + 3)
    run.cancel()

    assert not run.deaths
    assert members(watched, 0) == (0, 1, 2, 3)


def test_ranks_that_only_compute_are_not_suspected(watched: Cluster) -> None:
    def busy(worker: Any) -> int:
        import time

        end, turns = time.monotonic() + 3.0, 0
        while time.monotonic() < end:  # holds the interpreter whenever it can
            turns += 1
        return worker.view.number

    run = watched.run(busy).wait()

    assert not run.deaths
    assert {e.name for e in run.events if e.kind == "view"} <= {"view 1 {0,1,2,3}"}


def policies(worker: Any) -> dict[str, int]:
    """How each thread of this rank is scheduled."""
    import os
    import threading

    return {t.name: os.sched_getscheduler(t.native_id or 0) for t in threading.enumerate()}


def test_the_host_goes_before_what_it_watches_over(watched: Cluster) -> None:
    if not may_go_first():
        pytest.skip("real-time priority takes CAP_SYS_NICE (or Linux)")

    for of_rank in watched.run(policies).wait().results.values():
        assert of_rank.pop("host") & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
        assert set(of_rank.values()) == {os.SCHED_OTHER}


def test_a_silence_that_this_machine_cannot_keep_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As 60 ranks on two cores would be, with a silence of 150 ms."""
    monkeypatch.setattr(placement, "BEAT", 1.0)
    with Cluster(1, silence=SILENCE, record=False):
        pass
    assert f"WARNING: 1 rank with silence={SILENCE:g}: heartbeats" in capfd.readouterr().err
    with Cluster(1, record=False):
        pass
    assert "WARNING" not in capfd.readouterr().err


def test_a_silence_is_a_number_of_seconds() -> None:
    with pytest.raises(ValueError, match="silence=0"):
        Cluster(2, silence=0)


@pytest.mark.long
def test_in_ten_minutes_under_load_nobody_is_suspected_but_who_stands_still() -> None:
    """Three heartbeats of 50 ms, training on all ranks, and a busy loop for each core besides."""
    if not may_go_first():
        pytest.skip("so short a silence takes real-time priority: CAP_SYS_NICE (or Linux)")
    loop = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as beside, Cluster(4, silence=0.15) as cluster:
        for _ in range(os.cpu_count() or 1):
            beside.callback(beside.enter_context(subprocess.Popen(loop)).kill)
        run = cluster.run(train, elastic=True, steps=1_000_000)
        end = time.monotonic() + 600
        while time.monotonic() < end and not run.done and not run.deaths:
            time.sleep(0.5)
        assert not run.deaths, [e for e in run.events if e.kind in ("note", "view", "lost")]

        cluster.pause(2)
        wait_until(lambda: members(cluster, 0) == (0, 1, 3), "rank 2 is still in the view")
        cluster.resume(2)
        wait_until(lambda: 2 in run.deaths, "rank 2 goes on as if nothing had been")
        assert run.deaths[2].code == 1
