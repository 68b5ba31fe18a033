"""Elastic runs: ranks die and come back while the others train, and nothing of it is seen in the
weights. The numbers are those of the fault cases."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outside import wait_until
from patient import patiently

from labkit import At, Cluster, FaultPlan, Kill, Restart
from labkit.runtime.run import Run, RunError
from labkit.training.loop import train

STEPS = 80
SILENCE = 1.0
"""Seconds; long enough for a test machine whose cores are all busy."""
JOB = {"model": "cnn", "steps": STEPS, "algorithm": "in_order"}


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    """What comes of the same job on one rank."""
    with Cluster(1, record=False) as one:
        return one.run(train, **JOB).wait().results[0]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(4) as cluster:
        yield cluster


def views(run: Run, rank: int = 0) -> list[tuple[int, ...]]:
    """The members of the groups that the rank has formed in this run."""
    formed = [e for e in run.events if e.kind == "begin" and e.name == "forming group"]
    return [tuple(e.data["members"]) for e in formed if e.rank == rank]


def hashes(run: Run) -> dict[int, str]:
    return {rank: result["hash"] for rank, result in run.results.items()}


@pytest.mark.case(1, 51)
def test_a_rank_that_comes_back_goes_on_with_the_others(cluster: Cluster, undisturbed: Any) -> None:
    """1, 51: it joins between two steps, and every step counts once."""
    run = cluster.run(patiently, elastic=True, **JOB)

    run.wait_step(20)
    cluster.kill(2)
    cluster.restart(2)
    run.wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert views(run)[-2:] == [(0, 1, 3), (0, 1, 2, 3)]
    assert run.deaths[2].signal == "SIGKILL"
    steps = [e.data["step"] for e in run.events if e.kind == "step" and e.rank == 0]
    assert steps == sorted(set(steps))  # one that only others had applied came to it as a state
    assert steps[-1] == STEPS


def test_sums_in_shared_memory_survive_as_well(cluster: Cluster) -> None:
    """Each view adds up in memory of its own. Exact sums have the same bits whoever adds them."""
    job = {"model": "cnn", "steps": STEPS, "exact": True}
    expected = hashes(cluster.run(train, algorithm="ring", **job).wait())
    run = cluster.run(patiently, elastic=True, algorithm="shared_memory", **job)

    run.wait_step(20)
    cluster.kill(2)
    cluster.restart(2)
    run.wait()

    assert hashes(run) == expected
    assert views(run)[-2:] == [(0, 1, 3), (0, 1, 2, 3)]
    sums = [e for e in run.events if e.kind == "begin" and e.data.get("thread") == "group"]
    assert {e.data["algorithm"] for e in sums} == {"shared_memory"}


@pytest.mark.case(3)
def test_rank_0_and_the_witness_come_back_as_well(cluster: Cluster, undisturbed: Any) -> None:
    """3: rank 0 keeps the store in which a group meets, the witness leads."""
    run = cluster.run(patiently, elastic=True, **JOB)

    run.wait_step(20)
    cluster.kill(cluster.witness)
    cluster.kill(0)
    cluster.restart(0, cluster.witness)
    run.wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert views(run, rank=1)[-1] == (0, 1, 2, 3)


@pytest.mark.case(4)
def test_two_that_are_no_neighbours_die_at_once(cluster: Cluster, undisturbed: Any) -> None:
    """With the witness three of the five voters are left."""
    plan = FaultPlan(At(Kill(0), step=20), At(Kill(2), step=20))

    run = cluster.run(train, elastic=True, faults=plan, **JOB).wait()

    assert sorted(run.deaths) == [0, 2]
    assert hashes(run) == dict.fromkeys((1, 3), undisturbed["hash"])


def dies_handing_over(worker: Any, point: str, visit: int, **job: Any) -> Any:
    """Rank 0 does, at that visit of a named point, when rank 2 is back and gets the state from it,
    150 KB in pieces of 16; nobody comes to step 60 before that."""
    import time

    from labkit import faults
    from labkit.training import state

    state.PIECE = 16 << 10
    reach, step, visits = faults.point, worker.step, iter(range(1, 1000))

    def reached(name: str) -> None:
        back = worker.view.number > 1 and 2 in worker.view.members
        if name == point and back and worker.rank == 0 and next(visits) == visit:
            os.kill(os.getpid(), signal.SIGKILL)
        reach(name)

    def done(number: int) -> None:
        step(number)
        while number == 60 and 2 not in worker.group.members and not worker.must_regroup:
            time.sleep(0.005)

    faults.point, worker.step = reached, done
    return train(worker, **job)


@pytest.mark.case(52, 53)
@pytest.mark.parametrize(("point", "visit"), [("catch_up", 1), ("hand_over", 5)])
def test_a_death_while_another_joins(
    cluster: Cluster, undisturbed: Any, point: str, visit: int
) -> None:
    """52, 53: the rank whose state goes to the newcomer dies before it sends it, and when it has
    sent four pieces. Another one sends all of it."""
    plan = FaultPlan(At(Kill(2), step=20), At(Restart(2), step=21, on=0))
    how: dict[str, Any] = {"point": point, "visit": visit, "faults": plan, **JOB}

    run = cluster.run(dies_handing_over, elastic=True, **how).wait()

    assert [e.data["rank"] for e in run.events if e.kind == "death"] == [2, 0]
    assert hashes(run) == dict.fromkeys((1, 2, 3), undisturbed["hash"])
    last = [e for e in run.events if e.kind == "end" and e.name == "restoring"][-2:]
    assert {e.rank for e in last} == {1, 2}, "rank 3 had nothing to do with it"


@pytest.mark.case(5)
def test_below_its_minimum_a_run_waits_for_others(cluster: Cluster, undisturbed: Any) -> None:
    """5: pause, not crash."""
    run = cluster.run(train, elastic=True, minimum=3, **JOB)

    run.wait_step(20)
    cluster.kill(1)
    cluster.kill(2)
    wait_until(lambda: len(pauses(run)) == 2, "nobody pauses")
    reached = run.steps[0]
    cluster.restart(2)
    run.wait()

    assert hashes(run) == dict.fromkeys((0, 2, 3), undisturbed["hash"])
    assert all(len(members) >= 3 for members in views(run))
    assert views(run)[-1] == (0, 2, 3)
    assert reached < STEPS


def lose(cluster: Cluster, rank: int) -> None:
    """While there is no run."""
    cluster.kill(rank)
    wait_until(lambda: rank not in cluster._driver.living(), "it does not die")


@pytest.mark.case(5)
def test_a_run_that_begins_below_its_minimum_waits_too(cluster: Cluster, undisturbed: Any) -> None:
    """A node that was lost before, say. `restart()` brings back whoever is dead."""
    lose(cluster, 1)
    lose(cluster, 2)

    run = cluster.run(train, elastic=True, minimum=4, **JOB)
    wait_until(lambda: len(pauses(run, 2)) == 2, "nobody pauses")
    assert not run.steps
    cluster.restart()
    run.wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert not run.deaths, "they died before it"


def test_the_launcher_brings_back_who_died_between_two_runs(undisturbed: Any) -> None:
    with Cluster(3, max_restarts=2) as cluster:
        lose(cluster, 1)
        lose(cluster, cluster.witness)
        run = cluster.run(train, elastic=True, minimum=3, **JOB)
        run.wait(timeout=60)
    assert hashes(run) == dict.fromkeys(range(3), undisturbed["hash"])


def pauses(run: Run, missing: int = 1) -> list[str]:
    few = f"pauses: {missing} more"
    return [e.name for e in run.events if e.kind == "note" and e.name.startswith(few)]


def notes(run: Run) -> str:
    return "\n".join(e.name for e in run.events if e.kind == "note")


@pytest.mark.case(54)
def test_the_launcher_replaces_the_dead_so_many_times(undisturbed: Any) -> None:
    """54: the same rank dies again and again, each time as a new member."""
    plan = FaultPlan(*(At(Kill(3), step=step) for step in (20, 40, 60)))
    with Cluster(4, max_restarts=2) as cluster:
        run = cluster.run(train, elastic=True, minimum=4, faults=plan, **JOB)
        wait_until(lambda: "2 restarts are used up" in notes(run), "it is started for ever")
        assert {e.life for e in run.events if e.rank == 3} == {0, 1, 2}
        cluster.restart(3)  # who wants another life of it says so
        run.wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])


@pytest.mark.case(14)
def test_a_function_that_fails_at_once_is_not_started_for_ever() -> None:
    """14."""

    def crash(worker: Any) -> None:
        import os
        import signal

        if worker.rank == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        worker.group.barrier()

    with Cluster(2, max_restarts=3) as cluster:
        run = cluster.run(crash, elastic=True).wait()

    assert run.deaths[1].signal == "SIGSEGV"
    assert {e.life for e in run.events if e.kind == "death" or e.rank == 1} >= {0, 1, 2, 3}
    assert run.errors[0].kind == "PeerLost"


def ends_once(
    worker: Any, by: type[Exception] | signal.Signals, then: Any = patiently, **job: Any
) -> Any:
    """On rank 1, in its first life, at step 20."""
    step = worker.step

    def reached(number: int) -> None:
        step(number)
        if worker.rank == 1 and worker.view.number == 1 and number == 20:
            if isinstance(by, signal.Signals):
                os.kill(os.getpid(), by)
            else:
                raise by("no luck today")

    worker.step = reached
    return then(worker, **job)


@pytest.mark.case(12)
@pytest.mark.parametrize("by", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_in_native_code_is_a_death_like_others(
    undisturbed: Any, by: signal.Signals
) -> None:
    with Cluster(4, max_restarts=1) as cluster:
        run = cluster.run(ends_once, elastic=True, by=by, **JOB).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert run.deaths[1].signal == by.name


@pytest.mark.case(11)
def test_a_rank_whose_function_raised_is_started_anew(undisturbed: Any, capsys: Any) -> None:
    """11: the error is shown with rank and step, and the restart is counted."""
    with Cluster(4, max_restarts=1) as cluster:
        run = cluster.run(ends_once, elastic=True, by=ValueError, **JOB).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    shown = capsys.readouterr().out
    assert "[rank 1] rank 1 raised ValueError after step 20: no luck today" in shown
    why = "rank 1 raised ValueError after step 20: no luck today"
    assert why in [e.name for e in run.events if e.kind == "note"], "the record has the cause too"
    assert "in reached" in shown  # its traceback


@pytest.mark.case(13)
def test_who_has_no_memory_is_not_started_anew(undisturbed: Any) -> None:
    """13: the others go on without it, and the error is the run's."""
    with Cluster(4, max_restarts=5) as cluster:
        run = cluster.run(ends_once, elastic=True, by=MemoryError, then=train, **JOB)
        with pytest.raises(RunError, match="rank 1 raised MemoryError after step 20"):
            run.wait()

    assert hashes(run) == dict.fromkeys((0, 2, 3), undisturbed["hash"])
    why = [e.name for e in run.events if "no further restart" in e.name]
    assert len(why) == 1
    assert "smaller batch" in why[0]


@pytest.mark.case(15)
def test_a_slow_start_is_no_death(undisturbed: Any, tmp_path: Path) -> None:
    """What rank 2 imports takes longer than any silence may last."""
    (tmp_path / "slow_to_import.py").write_text(f"import time\ntime.sleep({3 * SILENCE})\n")

    def job(worker: Any) -> Any:
        import importlib
        import sys

        if worker.rank == 2:
            sys.path.insert(0, str(tmp_path))
            importlib.import_module("slow_to_import")
        return train(worker, **JOB)

    with Cluster(4, silence=SILENCE) as cluster:
        run = cluster.run(job).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert views(run) == [(0, 1, 2, 3)]


@pytest.mark.case(18)
def test_who_was_cut_off_catches_up_with_the_majority(undisturbed: Any, tmp_path: Path) -> None:
    gate = tmp_path / "all are back"

    def job(worker: Any) -> Any:
        step = worker.step

        def reached(number: int) -> None:
            import time

            step(number)
            while number == 60 and not gate.exists():
                time.sleep(0.005)

        worker.step = reached
        return train(worker, **JOB)

    def members(rank: int) -> tuple[int, ...]:
        return cluster._driver.seats[rank].view.members

    with Cluster(4, silence=SILENCE, max_restarts=1) as cluster:
        run = cluster.run(job, elastic=True)
        run.wait_step(20)
        cluster.partition([0, 1, 2, cluster.witness], [3])
        wait_until(lambda: members(0) == (0, 1, 2), "rank 3 is still in the view")
        cluster.heal()
        wait_until(lambda: members(3) == (0, 1, 2, 3), "rank 3 does not come back")
        gate.touch()
        run.wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert views(run)[-2:] == [(0, 1, 2), (0, 1, 2, 3)]


def test_who_comes_after_the_end_says_so(cluster: Cluster, tmp_path: Path) -> None:
    """It must not train alone, from the beginning."""

    def work(worker: Any) -> int:
        import time

        gate = tmp_path / ("open for all" if worker.view.members else "open for latecomers")
        while not gate.exists():
            time.sleep(0.005)
        return int(worker.group.size) if worker.rank == 1 else 0

    run = cluster.run(work, elastic=True)
    cluster.kill(1)
    cluster.inject(Restart(1))
    wait_until(lambda: any(e.life for e in run.events if e.kind == "start"), "no second life")
    (tmp_path / "open for all").touch()
    wait_until(lambda: sorted(run.results) == [0, 2, 3], "the others do not end")
    (tmp_path / "open for latecomers").touch()
    run.wait()

    assert run.errors[1].kind == "RunOver"


def test_a_run_that_is_not_elastic_knows_nothing_of_later_lives(cluster: Cluster) -> None:
    def work(worker: Any) -> list[tuple[int, ...]]:
        from labkit import PeerLost

        members, step, left = [worker.group.members], 0, 400
        while left:
            try:
                worker.group.all_reduce(worker.tensor(4))
            except PeerLost:
                members.append(worker.regroup().members)
                left = 400  # some had got further than others: from here on all take as many
            step, left = step + 1, left - 1
            worker.step(step)
        return members

    run = cluster.run(work)
    run.wait_step(20)
    cluster.kill(2)
    cluster.restart(2)
    run.wait()

    assert sorted(run.results) == [0, 1, 3]
    for first, *later in run.results.values():
        assert (first, set(later)) == ((0, 1, 2, 3), {(0, 1, 3)})
