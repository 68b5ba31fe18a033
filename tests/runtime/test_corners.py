"""What goes wrong between two messages: found by review, kept by these."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from outside import wait_until, workers

import labkit
from labkit import At, Cluster, Kill, RunError
from labkit.faults import Restart
from labkit.training.loop import train


def total(worker):
    return worker.group.all_reduce(worker.tensor(1, fill=1.0)).item()


def regrouping(worker):
    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(1000), 0
    while step < 100_000:
        step += 1
        worker.step(step)
        try:
            group.all_reduce(tensor)
        except PeerLost:
            group = worker.regroup()


@pytest.mark.case(21)
def test_a_roster_that_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.runtime.supervisor import Supervisor

    once = Supervisor._send_roster
    monkeypatch.setattr(Supervisor, "_send_roster", lambda it: (once(it), once(it)))
    with Cluster(4, patience=20.0) as cluster:
        cluster.restart(2)
        assert cluster.run(total).wait().results == dict.fromkeys(range(4), 4.0)


def test_a_restart_beside_a_kill(cluster: Cluster) -> None:
    for _ in range(5):
        cluster.inject(Restart(2))
        cluster.kill(3)
        assert cluster.run(total).wait().results == dict.fromkeys((0, 1, 2), 3.0)
        cluster.restart(3)


def test_a_rank_restarted_during_a_run_waits_for_the_next_one(cluster: Cluster) -> None:
    run = cluster.run(regrouping)
    run.wait_step(3)
    cluster.restart(2)
    run.wait_step(max(run.steps.values()) + 20)
    cluster.kill(1)
    run.wait_step(max(run.steps.values()) + 20)
    assert sorted(run.waiting) == [0, 3]
    assert cluster.run(total).wait().results == dict.fromkeys((0, 2, 3), 3.0)


def test_who_has_left_is_missed_by_no_collective_that_it_has_completed(cluster: Cluster) -> None:
    """A slow link makes the last collective of some ranks end long after that of others."""

    def twice(worker):
        worker.group.barrier()
        return worker.group.all_reduce(worker.tensor(1, fill=1.0)).item()

    cluster.delay(1, 2, 1.5)
    run = cluster.run(twice).wait()
    assert run.results == dict.fromkeys(range(4), 4.0), run.errors


def reset(worker):
    """Ends the connections on which tensors travel, and leaves those of the wire alone."""
    host = worker._host
    wires = [host.line.connection, *host._peers._connections.values()]
    spared = {os.fstat(wire.sock.fileno()).st_ino for wire in wires}
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            inode = os.fstat(fd).st_ino
            sock = socket.socket(fileno=os.dup(fd))
        except OSError:  # no socket
            continue
        with sock:
            if inode not in spared and sock.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):  # it listens
                    sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.case(22)
def test_a_connection_that_is_reset_within_a_tensor_costs_no_part_of_a_step() -> None:
    """Rank 1's connections break between two chunks of step 21. Nobody has died; it may be that
    Gloo then ends the process."""
    job = {"steps": 40, "algorithm": "in_order"}

    def broken(worker):
        step = worker.step

        def reached(number):
            step(number)
            if worker.rank == 1 and worker.view.number == 1 and number == 20:
                link, hold = worker.group.link, worker.group.link.hold
                link.hold = lambda to: (reset(worker), setattr(link, "hold", hold), hold(to))

        worker.step = reached
        return train(worker, **job)

    with Cluster(4, max_restarts=4) as cluster:
        undisturbed = cluster.run(train, **job).wait().results[0]["hash"]
        run = cluster.run(broken, elastic=True).wait()

    assert {run.results[rank]["hash"] for rank in range(4)} == {undisturbed}
    formed = [e for e in run.events if e.rank == 0 and e.name == "forming group"]
    assert len(formed) > 1, "nothing has broken"


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ValueError("\udcff"), "ValueError"),
        (lambda: ValueError("x" * (200 << 20)), "ValueError"),
        (lambda: RuntimeError(threading.Lock()), "RuntimeError"),
        (lambda: Silent(), "Silent"),
    ],
)
def test_whatever_is_raised_the_driver_hears_of_it(cluster: Cluster, make, says: str) -> None:
    def fail(worker):
        worker.step(np.int64(3))
        if worker.rank == 0:
            raise make()

    with pytest.raises(RunError, match=f"{says} after step 3"):
        cluster.run(fail).wait()


def test_a_run_ends_with_its_cluster_and_keeps_it_until_then() -> None:
    def nap(worker):
        import time

        time.sleep(0.5)
        return worker.rank

    assert Cluster(2).run(nap).wait().results == {0: 0, 1: 1}
    cluster = Cluster(2)
    run = cluster.run(regrouping)
    cluster.close()
    assert {e.kind for e in run.wait().errors.values()} == {"Cancelled"}
    run.cancel()


def test_a_restart_is_off_when_the_cluster_closes() -> None:
    cluster = Cluster(2)
    cluster.inject(Restart(1))
    cluster.close()
    wait_until(lambda: not workers(), "a restarted rank outlives its cluster")


def test_two_ranks_that_stand_still_give_way_to_the_next_run(cluster: Cluster) -> None:
    run = cluster.run(regrouping)
    run.wait_step(2)
    cluster.pause(1)
    cluster.pause(2)
    assert cluster.run(total).wait().results == dict.fromkeys(range(4), 4.0)


def test_a_restart_that_meets_a_rank_which_stands_still_is_done_when_it_goes_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.pause(1)
    cluster.inject(Restart(2))
    wait_until(lambda: cluster._driver.seats[2].life == 1, "rank 2 has no next life")
    threading.Event().wait(11.0)  # longer than the patience of a handshake
    cluster.resume(1)
    assert cluster.run(total).wait().results == dict.fromkeys(range(4), 4.0)


def test_a_worker_with_many_groups_left_behind_is_replaced(cluster: Cluster) -> None:
    for _ in range(16):
        cluster.run(lambda worker: worker.group.abandon()).wait()
    assert cluster.run(total).wait().results == dict.fromkeys(range(4), 4.0)
    assert [seat.life for seat in cluster._driver.seats.values()] == [1, 1, 1, 1, 0]


def test_what_the_workers_could_not_read_is_refused_at_once(cluster: Cluster) -> None:
    with pytest.raises(TypeError):
        Cluster(2, seed="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="deadline"):
        Cluster(2, deadline=0)
    with pytest.raises(ValueError, match="At"):
        cluster.run(total, faults=[Kill(1)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="At"):
        cluster.run(total, faults=[At(Kill(1), step="3")])  # type: ignore[arg-type]
    cluster.kill(np.int64(1))  # type: ignore[arg-type]
    assert cluster.run(total).wait().results == dict.fromkeys((0, 2, 3), 3.0)
    with pytest.raises(RunError, match="nonsense"):
        cluster.run(lambda worker: worker.group.all_reduce(worker.tensor(1), "nonsense")).wait()


@pytest.mark.parametrize("launcher", ["local", "mpi"])
def test_workers_import_the_drivers_lab_not_that_of_the_directory(
    launcher: str, tmp_path: Path
) -> None:
    other, script = tmp_path / "checkout" / "labkit", tmp_path / "driver.py"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('of another checkout')")
    script.write_text(
        "import sys\n"
        f"sys.path[0] = {str(Path(labkit.__file__).parents[1])!r}\n"
        "import labkit\n"
        "sys.path[0] = ''\n"
        "def where(worker):\n"
        "    return __import__('labkit').__file__\n"
        f"with labkit.Cluster(1, launcher={launcher!r}) as cluster:\n"
        "    assert cluster.run(where).wait().results == {0: labkit.__file__}\n"
    )
    command = [sys.executable, str(script)]
    driver = subprocess.run(command, cwd=other.parent, capture_output=True, text=True, timeout=90)
    assert driver.returncode == 0, driver.stderr
