"""Hangs of real processes: who called what, and from which line, is said by the ranks themselves.

Case 25 (mismatched collectives) and case 10 (the interpreter's lock is held) of the fault cases.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from outside import wait_until
from patient import patiently

from labkit import At, Cluster, CollectiveTimeout, FaultPlan, HoldGIL, PeerLost
from labkit.faults import point
from labkit.training.loop import train

DEADLINE = 1.0


def other_calls(worker: Any) -> None:
    x = worker.tensor(4)
    worker.group.all_reduce(x)
    if worker.rank == 0:
        worker.group.broadcast(x)
    else:
        worker.group.reduce(x)


def other_shapes(worker: Any) -> None:
    worker.group.all_reduce(worker.tensor(4 + (worker.rank == 1)))


def one_more_call(worker: Any) -> None:
    x = worker.tensor(4)
    worker.group.all_reduce(x)
    if worker.rank == 1:
        worker.receive(0, timeout=30)  # rank 0 sends nothing: it is in an all-reduce
    worker.group.all_reduce(x)


def crossed_sends(worker: Any) -> None:
    group, x = worker.group, worker.tensor(4)

    def exchange() -> None:
        group.link.send(x, group.link.right)  # all send first, so nobody receives
        group.link.receive(x, group.link.left)

    group.submit(exchange, "exchange").wait()


CASES: dict[Callable[[Any], None], str] = {
    other_calls: (
        r"collective 3 is not the same on all ranks: rank 0 called broadcast\(float32\[4\], 0\) at "
        r"test_hangs\.py:\d+ in other_calls `worker\.group\.broadcast\(x\)`; ranks 1 and 2 called "
        r"reduce\(float32\[4\], sum, 0\) at test_hangs\.py:\d+ in other_calls "
        r"`worker\.group\.reduce\(x\)`"
    ),
    other_shapes: (
        r"collective 2 is not the same on all ranks: ranks 0 and 2 called all_reduce\(float32\[4\]"
        r".*rank 1 called all_reduce\(float32\[5\], sum, ring\) at test_hangs\.py:\d+"
    ),
    one_more_call: (
        r"ranks 0 and 2 wait in collective 3, all_reduce\(float32\[4\], sum, ring\), at .*; rank 1 "
        r"has not come to it: it is at test_hangs\.py:\d+ in one_more_call `worker\.receive\(0"
    ),
    crossed_sends: (
        r"ranks 0, 1 and 2 are in collective 2, exchange, and it does not end: ranks 0, 1 and 2 at "
        r"test_hangs\.py:\d+ in exchange `group\.link\.send\(x, group\.link\.right\)"
    ),
}


@pytest.mark.case(25)
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_a_collective_that_does_not_end_says_who_called_what(
    function: Callable[[Any], None],
) -> None:
    with Cluster(3, deadline=DEADLINE) as cluster:
        run = cluster.run(function)
        wait_until(lambda: run.errors, "nobody timed out")
    told = [e for e in run.errors.values() if e.kind == CollectiveTimeout.__name__]
    assert re.search(CASES[function], told[0].message), told[0].message


def stuck_outside(worker: Any) -> None:
    """After a step, rank 1 waits for a message and the others for rank 1."""
    worker.group.barrier()
    worker.step(1)
    if worker.rank == 1:
        worker.receive(0, timeout=60)
    worker.group.barrier()


@pytest.fixture
def patient() -> Iterator[Cluster]:
    with Cluster(4, deadline=5.0) as cluster:
        yield cluster


def test_the_watchdog_speaks_before_anything_is_given_up(patient: Cluster) -> None:
    """At half of the deadline."""
    cluster = patient
    run = cluster.run(stuck_outside)
    notes: list[str] = []

    def told() -> bool:
        notes[:] = [e.name for e in run.events if e.kind == "note" and "no step" in e.name]
        return bool(notes)

    wait_until(told, "the watchdog said nothing")
    assert not run.errors
    assert len(notes) == 1
    assert re.search(
        r"no step for 2\.5 s: ranks 0, 2 and 3 wait in collective 3, barrier\(\), at .*; rank 1 "
        r"has not come to it: it is at .* in stuck_outside `worker.receive",
        notes[0],
    )
    table = cluster.stacks()
    assert table.verdict in notes[0]
    assert "receive" in table.dumps[1]
    assert "worker.group.barrier()" in table.dumps[0]
    assert cluster.directory is not None
    wait_until(lambda: (cluster.directory / "hang1.txt").exists(), "no stacks were written")
    run.cancel()


def steps(worker: Any, count: int) -> int:
    """Survives what it is told of."""
    done = 0
    while done < count:
        try:
            worker.group.barrier()
        except PeerLost:
            worker.regroup()
            continue
        done += 1
        worker.step(done)
    return done


@pytest.mark.case(10)
def test_a_rank_that_holds_the_interpreters_lock_is_voted_out_shown_and_replaced() -> None:
    """Case 10. It cannot beat, nor answer: `faulthandler` shows its line all the same."""
    with Cluster(3, silence=0.4, deadline=20.0) as cluster:
        plan = FaultPlan(At(HoldGIL(1), point="here"))
        run = cluster.run(with_a_point, faults=plan)
        wait_until(lambda: set(run.results) == {0, 2}, "the others did not go on")
        table = cluster.stacks()
        assert "hold_lock" in table.dumps[1]
        assert "with_a_point" in table.dumps[1]
        row = next(row for row in table.rows if row["rank"] == 1)
        assert re.match(r"holds the interpreter's lock: File .* in hold_lock", row["at"])
        cluster.restart(1)
        assert run.deaths[1].signal == "SIGKILL"
        assert set(cluster.run(steps, count=2).wait(timeout=20).results.values()) == {2}


@pytest.mark.case(10)
@pytest.mark.parametrize("how", ["holds the lock", "is stopped"])
def test_in_an_elastic_run_the_launcher_kills_who_hangs_and_replaces_it(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 10, without anybody's hand. A process that was stopped behind the lab's back, too."""
    job: dict[str, Any] = {"steps": 80, "algorithm": "in_order"}
    plan = [At(HoldGIL(1), step=30)] if how == "holds the lock" else []
    with Cluster(4, silence=0.4, max_restarts=1) as cluster:
        undisturbed = cluster.run(train, **job).wait().results[0]["hash"]
        run = cluster.run(patiently, elastic=True, faults=FaultPlan(*plan), **job)
        if not plan:
            run.wait_step(30)
            os.kill(cluster._driver.seats[1].pid or 0, signal.SIGSTOP)
        run.wait()

    assert {rank: result["hash"] for rank, result in run.results.items()} == dict.fromkeys(
        range(4), undisturbed
    )
    assert run.deaths[1].signal == "SIGKILL"
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "is out of the" in line]
    reason = r"holds the interpreter's lock: File .*hold_lock" if plan else "no answer: stands"
    assert re.search(rf"\[rank 1\] rank 1 is out of the view and hangs: {reason}", told)


def test_who_is_cut_off_and_answers_is_not_killed() -> None:
    """It waits until the link heals, and ends by itself."""
    with Cluster(4, silence=0.4, max_restarts=1) as cluster:
        run = cluster.run(patiently, elastic=True, steps=80)
        run.wait_step(20)
        cluster.partition([0, 1, 2, cluster.witness], [3])
        seats = cluster._driver.seats
        wait_until(lambda: seats[0].view.members == (0, 1, 2), "rank 3 is still in the view")
        threading.Event().wait(2.0)  # longer than one that hangs would live
        assert seats[3].state == "ready"
        cluster.heal()
        run.wait()

    assert sorted(run.results) == [0, 1, 2, 3]
    assert (run.deaths[3].signal, run.deaths[3].code) == (None, 1)


def with_a_point(worker: Any) -> int:
    steps(worker, 3)
    point("here")
    return steps(worker, 3)


def test_a_rank_that_is_stopped_is_told_from_one_that_holds_the_lock(cluster: Cluster) -> None:
    cluster.pause(2)
    stopped = psutil.Process(cluster._driver.seats[2].pid)
    wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "it was not stopped")
    table = cluster.stacks()
    assert [row["at"] for row in table.rows if row["rank"] == 2] == ["no answer: stands still"]
    cluster.resume(2)
