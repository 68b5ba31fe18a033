"""Hot spares: a process that has warmed up and waits becomes the next life of a rank that dies."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from outside import wait_until
from patient import patiently

from labkit import At, Cluster, FaultPlan, Kill, events
from labkit.runtime.run import Run
from labkit.runtime.spares import FAILURES
from labkit.training.loop import train

JOB = {"model": "cnn", "steps": 60, "algorithm": "in_order"}


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    """What comes of the same job on one rank."""
    with Cluster(1, record=False) as one:
        return one.run(train, **JOB).wait().results[0]


def spares(cluster: Cluster) -> list[int]:
    """The processes of those that are warm."""
    return [row["pid"] for row in cluster.status().rows if row["rank"] == "spare"]


def pids(run: Run, rank: int) -> dict[int, int]:
    """The process of each life that took part in the run after its first."""
    started = [e for e in run.events if e.kind == "start" and e.rank == rank]
    return {e.life: e.data["pid"] for e in started}


def hashes(run: Run) -> dict[int, str]:
    return {rank: result["hash"] for rank, result in run.results.items()}


def test_a_spare_takes_the_place_of_the_dead(undisturbed: Any) -> None:
    def talk(worker: Any) -> Any:
        print("a word")
        return patiently(worker, **JOB)

    with Cluster(4, spares=1, max_restarts=1) as cluster:
        (spare,) = spares(cluster)
        run = cluster.run(talk, elastic=True, faults=FaultPlan(At(Kill(2), step=20))).wait()

        assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
        assert pids(run, 2) == {1: spare}
        words = cluster._driver.console.last_words
        assert list(words).count("[rank 2] a word") == 2
        assert cluster.directory is not None
        life = events.read(cluster.directory / "events" / "rank2.1.jsonl")
        assert {(e.rank, e.life) for e in life} == {(2, 1)}
        wait_until(lambda: len(spares(cluster)) == 1, "there is no spare behind it")
        assert spares(cluster) != [spare]
        assert "spare" in str(cluster.status())

        cluster.kill(2)  # its life is this process now, and so is its end
        wait_until(lambda: cluster._driver.seats[2].state == "dead", "it is not missed")
        assert not psutil.pid_exists(spare)


def test_two_deaths_in_a_row_and_one_spare(undisturbed: Any) -> None:
    """Who comes too late for the spare gets a process that starts now."""
    plan = FaultPlan(At(Kill(2), step=20), At(Kill(0), step=20))
    with Cluster(4, spares=1, max_restarts=3) as cluster:
        (spare,) = spares(cluster)
        run = cluster.run(patiently, elastic=True, faults=plan, **JOB).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    seated = [pids(run, 0)[1], pids(run, 2)[1]]
    assert seated.count(spare) == 1


def test_the_spare_itself_is_killed_again_in_its_seat(undisturbed: Any) -> None:
    plan = FaultPlan(At(Kill(3), step=20), At(Kill(3), step=40))
    with Cluster(4, spares=2, max_restarts=2) as cluster:
        waiting = spares(cluster)
        run = cluster.run(patiently, elastic=True, faults=plan, **JOB).wait()

    assert hashes(run) == dict.fromkeys(range(4), undisturbed["hash"])
    assert sorted(pids(run, 3).values()) == sorted(waiting)


def test_a_spare_that_dies_is_replaced_but_not_for_ever() -> None:
    with Cluster(2, spares=1) as cluster:
        started: list[int] = []
        while cluster._driver.supervisor.spares.failures < FAILURES:
            wait_until(lambda: len(spares(cluster)) == 1, "there is no other spare")
            started += spares(cluster)
            psutil.Process(started[-1]).kill()
            wait_until(lambda: not spares(cluster), "its death is not seen")

        driver = cluster._driver
        driver.loop.call(driver.supervisor.spares.restock)
        assert len(set(started)) == FAILURES
        processes = driver.supervisor.processes  # a connection closes before its process has ended
        wait_until(lambda: len(processes) <= 3, "more than two ranks and the witness")
        assert len(processes) == 3
        cluster.kill(1)
        cluster.restart(1)
        assert cluster.run(lambda worker: worker.rank).wait().results == {0: 0, 1: 1}


def test_a_cluster_that_closes_while_a_spare_warms_up(capfd: pytest.CaptureFixture[str]) -> None:
    with Cluster(2, spares=1) as cluster:
        cluster.kill(1)
        cluster.restart(1)
        starting = cluster._driver.supervisor.spares
        cluster._driver.loop.call(starting.restock)

    assert capfd.readouterr().out == ""  # `nothing_left` sees to the rest


def test_fewer_than_no_spares_are_refused() -> None:
    with pytest.raises(ValueError, match="spares=-1: a number of processes, 0 or more"):
        Cluster(2, spares=-1)


def test_spares_under_mpiexec(undisturbed: Any) -> None:
    with Cluster(2, launcher="mpi", spares=1, max_restarts=1) as cluster:
        (spare,) = spares(cluster)
        plan = FaultPlan(At(Kill(1), step=20))
        run = cluster.run(patiently, elastic=True, size=2, faults=plan, **JOB).wait()

    assert hashes(run) == dict.fromkeys(range(2), undisturbed["hash"])
    assert pids(run, 1) == {1: spare}
