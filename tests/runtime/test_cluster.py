"""A cluster that works: functions, results, output, errors, messages, restarts."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from outside import Container, wait_until, write_program

from labkit import At, Cluster, FaultPlan, Kill, Pause, RunError, Slow
from labkit.collectives import stopwatch
from labkit.runtime.launch.mpi import find_mpiexec
from labkit.runtime.supervisor import Supervisor


def total(worker):
    import torch

    return worker.group.all_reduce(torch.tensor([worker.rank + 1.0])).item()


def forever(worker):
    """All-reduces until something stops it; after a loss it goes on with the survivors."""
    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(1000), 0
    while True:
        step += 1
        try:
            group.all_reduce(tensor)
        except PeerLost as lost:
            return lost.rank, worker.regroup().members
        worker.step(step)


def test_results_by_rank(cluster: Cluster) -> None:
    run = cluster.run(total).wait()
    assert run.results == dict.fromkeys(range(4), 10.0)
    assert not run.deaths
    assert not run.errors


def test_a_function_of_this_module_and_a_local_one_are_shipped(cluster: Cluster) -> None:
    offset = 100
    run = cluster.run(lambda worker, factor: worker.rank * factor + offset, factor=2).wait()
    assert run.results == {0: 100, 1: 102, 2: 104, 3: 106}


def test_the_ranks_are_in_one_session_and_each_leads_a_group(cluster: Cluster) -> None:
    """Linux shares the cores out between sessions: with one for each a step takes 10 % longer. The
    terminal of the driver has another, and its Ctrl-C does not reach the ranks."""

    def where(worker):
        import os

        return os.getsid(0), os.getpgid(0) == os.getpid()

    found = set(cluster.run(where).wait().results.values())
    assert len(found) == 1
    session, leads = found.pop()
    assert leads
    assert session != os.getsid(0)


def test_the_handle_can_be_awaited(cluster: Cluster) -> None:
    async def main():
        run = cluster.run(total)
        return (await run).results, (await run).results

    first, again = asyncio.run(main())
    assert first == again == dict.fromkeys(range(4), 10.0)


def test_run_returns_at_once(cluster: Cluster, tmp_path: Path) -> None:
    def until(worker, file):
        import time

        for _ in range(3000):  # 30 s
            if file.exists():
                return True
            time.sleep(0.01)
        return False

    run = cluster.run(until, file=tmp_path / "it has returned")
    (tmp_path / "it has returned").touch()
    assert run.wait().results == dict.fromkeys(range(4), True)


def test_output_is_shown_with_its_rank(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def speak(worker):
        import os
        import sys

        print("hello")
        print("no line end", end="")
        os.write(2, b"\nraw bytes\xff\n")
        sys.stdout.flush()

    cluster.run(speak).wait()
    # The pipe is read by another thread than the wire; the run's end does not order the two.
    lines: list[str] = []
    while len(lines) < 12:
        cluster._driver.console.show()
        lines += capsys.readouterr().out.splitlines()
        time.sleep(0.01)
    for rank in range(4):
        assert f"[rank {rank}] hello" in lines
        assert f"[rank {rank}] no line end" in lines


def test_a_traceback_reaches_the_notebook_whole(cluster: Cluster) -> None:
    def faulty(worker):
        worker.step(7)
        if worker.rank == 2:
            nothing = {}
            nothing["missing key"]

    with pytest.raises(RunError) as caught:
        cluster.run(faulty).wait()
    text = str(caught.value)
    assert "rank 2 raised KeyError after step 7" in text
    assert 'nothing["missing key"]' in text
    assert "in faulty" in text


def test_results_that_cannot_be_sent_back_are_an_error_of_that_rank(cluster: Cluster) -> None:
    def returns_a_lock(worker):
        import threading

        return threading.Lock()

    with pytest.raises(RunError, match="cannot pickle"):
        cluster.run(returns_a_lock).wait()
    assert cluster.run(total).wait().results[0] == 10.0


def test_a_killed_rank_leaves_partial_results(cluster: Cluster) -> None:
    run = cluster.run(forever)
    run.wait_step(3)
    cluster.kill(2)
    run.wait()
    assert run.results == dict.fromkeys((0, 1, 3), (2, (0, 1, 3)))
    died = run.deaths[2]
    assert died.signal == "SIGKILL"
    assert died.step >= 3
    assert [e.kind for e in run.events if e.kind in ("fault", "death")] == ["fault", "death"]
    assert {e.rank for e in run.events if e.kind == "lost"} == {0, 1, 3}


@pytest.mark.case(12)
def test_a_rank_that_ends_by_itself_says_how(cluster: Cluster) -> None:
    def leave(worker):
        import os

        if worker.rank == 1:
            os._exit(3)
        if worker.rank == 3:
            os.abort()

    run = cluster.run(leave).wait()
    assert (run.deaths[1].code, run.deaths[1].signal) == (3, None)
    assert run.deaths[3].signal == "SIGABRT"
    assert sorted(run.results) == [0, 2]


def test_a_planned_kill_strikes_at_its_step_and_its_last_words_survive(cluster: Cluster) -> None:
    run = cluster.run(forever, faults=FaultPlan(At(Kill(3), step=5))).wait()
    assert run.deaths[3].step == 5
    last = [e for e in run.events if e.rank == 3][-1]
    assert (last.kind, last.data["fault"]) == ("fault", {"fault": "Kill", "rank": 3})
    assert run.results[0] == (3, (0, 1, 2))


def test_a_planned_kill_strikes_at_the_second_visit_of_a_named_point(cluster: Cluster) -> None:
    def visit(worker):
        from labkit.faults import point

        for i in range(5):
            worker.step(i)
            point("here")

    run = cluster.run(visit, faults=[At(Kill(0), point="here", count=2)]).wait()
    assert run.deaths[0].step == 1
    assert sorted(run.results) == [1, 2, 3]


def test_a_planned_fault_at_a_time(cluster: Cluster) -> None:
    run = cluster.run(forever, faults=[At(Kill(1), seconds=0.2)]).wait()
    assert run.deaths[1].signal == "SIGKILL"


def test_a_planned_pause_stops_the_rank_where_it_is_and_ends(cluster: Cluster) -> None:
    def steps(worker):
        import time

        times = []
        for i in range(4):
            worker.step(i)
            times.append(time.monotonic())
        return times[2] - times[1]

    run = cluster.run(steps, faults=[At(Pause(2, seconds=0.5), step=2)]).wait()
    assert run.results[2] >= 0.5
    assert max(run.results[r] for r in (0, 1, 3)) < 0.5


def test_a_pause_ends_with_the_life_that_it_was_for(cluster: Cluster) -> None:
    seats = cluster._driver.seats
    cluster.pause(1, seconds=1.0)
    cluster.restart(1)

    cluster.pause(1)
    cluster.pause(2, seconds=1.2)
    wait_until(lambda: seats[2].state == "ready", "rank 2 does not go on")

    assert seats[1].state == "paused"
    cluster.resume(1)


def test_of_pauses_that_overlap_the_longest_counts(cluster: Cluster) -> None:
    seats = cluster._driver.seats
    cluster.pause(1, seconds=0.2)
    cluster.pause(1, seconds=1.0)
    cluster.pause(2)
    cluster.pause(2, seconds=0.2)
    cluster.pause(3, seconds=0.5)
    wait_until(lambda: seats[3].state == "ready", "rank 3 does not go on")
    assert [seats[rank].state for rank in (1, 2)] == ["paused", "paused"]
    wait_until(lambda: seats[1].state == "ready", "rank 1 does not go on")
    cluster.resume(2)
    assert seats[2].state == "ready"


def test_who_goes_on_before_its_pause_is_over_is_not_resumed_once_more(cluster: Cluster) -> None:
    told: list[str] = []
    cluster._driver.listeners.append(lambda events: told.extend(e.name for e in events))
    cluster.pause(1, seconds=0.2)
    cluster.resume(1)
    cluster.pause(1)
    cluster.pause(2, seconds=0.3)
    wait_until(lambda: "Resume(rank=2)" in told, "rank 2 does not go on")
    assert told.count("Resume(rank=1)") == 1
    assert cluster._driver.seats[1].state == "paused"
    cluster.resume(1)


def test_an_earlier_run_gives_way(cluster: Cluster) -> None:
    first = cluster.run(forever)
    first.wait_step(2)
    assert cluster.run(total).wait().results[0] == 10.0
    assert {e.kind for e in first.errors.values()} == {"Cancelled"}


def test_a_run_that_has_hardly_begun_gives_way(cluster: Cluster) -> None:
    for _ in range(20):
        cluster.run(forever)
    assert cluster.run(total).wait().results == dict.fromkeys(range(4), 10.0)
    assert not [s for s in cluster._driver.seats.values() if s.life > 0]


def test_a_run_that_cannot_be_interrupted_is_replaced(cluster: Cluster) -> None:
    def deaf(worker):
        import signal

        if worker.rank == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        worker.step(1)
        while True:
            signal.sigtimedwait([], 1.0)

    run = cluster.run(deaf)
    run.wait_step(1)
    assert cluster.run(total).wait().results == dict.fromkeys(range(4), 10.0)
    assert list(run.deaths) == [1]


def test_restart_gives_the_rank_a_next_life_in_the_next_view(cluster: Cluster) -> None:
    cluster.kill(2)
    assert sorted(cluster.run(total).wait().results) == [0, 1, 3]
    cluster.restart(2)
    run = cluster.run(lambda worker: (worker.view.members, worker.group.size)).wait()
    assert run.results == dict.fromkeys(range(4), ((0, 1, 2, 3), 4))
    cluster.restart(0)  # also one that lives, also the lowest
    assert cluster.run(total).wait().results == dict.fromkeys(range(4), 10.0)


def test_two_deaths_at_once(cluster: Cluster) -> None:
    def patient(worker):
        from labkit import PeerLost

        group, tensor, step = worker.group, worker.tensor(1000), 0
        while group.size > 2:
            step += 1
            worker.step(step)
            try:
                group.all_reduce(tensor)
            except PeerLost:
                group = worker.regroup()
        return group.all_reduce(worker.tensor(1, fill=1.0)).item()

    run = cluster.run(patient)
    run.wait_step(2)
    cluster.kill(0)
    cluster.kill(2)
    assert run.wait().results == {1: 2.0, 3: 2.0}


def test_all_ranks_dead_is_the_end_of_the_run_and_says_what_to_do(cluster: Cluster) -> None:
    run = cluster.run(forever)
    for rank in range(4):
        cluster.kill(rank)
    assert sorted(run.wait().deaths) == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="restart"):
        cluster.run(total)


def test_a_slow_rank_computes_for_longer(cluster: Cluster) -> None:
    def compute(worker):
        import time

        from labkit.faults import work

        begin = time.monotonic()
        with work("computing"):
            time.sleep(0.05)
        return time.monotonic() - begin

    cluster.slow(1, 20.0)
    seconds = cluster.run(compute).wait().results
    assert seconds[1] >= 1.0
    assert max(seconds[rank] for rank in (0, 2, 3)) < 1.0
    cluster.heal()
    assert cluster.run(compute).wait().results[1] < 1.0
    plan = [At(Slow(0, 4.0), point="computing")]
    assert sorted(cluster.run(compute, faults=plan).wait().results) == [0, 1, 2, 3]


def test_messages_arrive_in_order_and_follow_the_lamport_clock(cluster: Cluster) -> None:
    def token(worker):
        right, left = (worker.rank + 1) % 4, (worker.rank - 1) % 4
        if worker.rank == 0:
            worker.send(right, [0])
            return worker.receive(left)
        path = worker.receive(left)
        worker.send(right, [*path, worker.rank])
        return path

    run = cluster.run(token).wait()
    assert run.results[0] == [0, 1, 2, 3]
    sent = {e.data["id"]: e.clock for e in run.events if e.kind == "send"}
    received = {e.data["id"]: e.clock for e in run.events if e.kind == "receive"}
    assert sent.keys() == received.keys()
    assert all(sent[id] < received[id] for id in sent)


def test_a_cut_loses_messages_and_a_heal_ends_it(cluster: Cluster) -> None:
    def ask(worker, patience):
        if worker.rank == 0:
            worker.send(1, "hello")
        if worker.rank == 1:
            try:
                return worker.receive(0, timeout=patience)
            except TimeoutError:
                return "nothing"
        return None

    def heard(patience: float) -> str:
        return cluster.run(ask, patience=patience).wait().results[1]

    for break_link in (
        lambda: cluster.cut(0, 1),
        lambda: cluster.partition([0, 2], [1, 3]),
        lambda: cluster.drop(0, 1, 1.0),
    ):
        break_link()
        assert heard(0.3) == "nothing"
        cluster.heal()
        assert heard(10.0) == "hello"
    cluster.delay(0, 1, 0.2)
    assert heard(10.0) == "hello"


def test_a_partition_holds_a_collective_until_it_heals(cluster: Cluster) -> None:
    run = cluster.run(forever)
    run.wait_step(3)
    cluster.partition([0, 1], [2, 3])
    held = max(run.steps.values())
    with pytest.raises(TimeoutError, match="rank 0"):
        run.wait_step(held + 1000, timeout=0.5)
    cluster.heal()
    run.wait_step(held + 20)
    assert not run.errors


def test_a_paused_rank_is_named_by_who_waits(cluster: Cluster) -> None:
    run = cluster.run(forever)
    run.wait_step(2)
    cluster.pause(1)
    with pytest.raises(TimeoutError, match=r"rank 1 \(paused"):
        run.wait(timeout=0.5)
    cluster.resume(1)
    reached = run.steps[1]
    run.wait_step(reached + 5)


def test_a_rank_that_has_returned_is_waited_for_by_nobody(cluster: Cluster) -> None:
    def some_return(worker):
        from labkit import PeerLost

        group = worker.group
        if worker.rank == 0:
            return "returned"
        while True:
            try:
                return group.all_reduce(worker.tensor(1, fill=1.0)).item()
            except PeerLost:
                group = worker.regroup()

    run = cluster.run(some_return).wait()
    assert run.results == {0: "returned", 1: 3.0, 2: 3.0, 3: 3.0}


def test_a_collective_has_a_deadline_though_nobody_is_dead() -> None:
    def absent(worker):
        if worker.rank != 1:
            worker.group.barrier()
        import time

        time.sleep(1.5)

    with Cluster(3, deadline=0.5) as cluster:
        run = cluster.run(absent)
        with pytest.raises(RunError, match=r"did not end within 0\.5 s"):
            run.wait()


def test_every_algorithm_of_a_group_and_its_buckets(cluster: Cluster) -> None:
    def reduce(worker):
        import torch

        group, sums = worker.group, []
        buckets = group.bucket(1000), group.bucket(1000, shared=True)
        for algorithm in (
            *("ring", "naive", "tree", "halving_doubling", "builtin"),
            *("shared_memory", "segmented_ring"),
        ):
            for tensor in (*buckets, torch.empty(1000)):
                tensor.fill_(worker.rank)
                pending = group.all_reduce_async(tensor, algorithm=algorithm)
                sums.append(pending.wait().unique().tolist())
                sums.append(group.all_reduce(tensor, "avg", algorithm).unique().tolist())
        gathered = [t.item() for t in group.all_gather(torch.tensor(worker.rank))]
        group.barrier()
        return sums, gathered, group.broadcast(torch.tensor([worker.rank]), 2).item()

    results = cluster.run(reduce).wait().results
    assert results == dict.fromkeys(range(4), ([[6.0], [6.0]] * 21, [0, 1, 2, 3], 2))


def until_lost(worker, algorithm):
    from labkit import PeerLost

    step, tensor = 0, worker.group.bucket(300_000)
    while True:
        step += 1
        try:
            worker.group.all_reduce(tensor, algorithm=algorithm)
        except PeerLost as lost:
            group = worker.regroup()
            total = group.all_reduce(worker.tensor(1, fill=1.0), algorithm=algorithm)
            return lost.rank, lost.view.number, total.item()
        worker.step(step)


@pytest.mark.parametrize("algorithm", ["ring", "builtin", "shared_memory", "tree", "naive"])
def test_every_survivor_leaves_every_algorithm(cluster: Cluster, algorithm: str) -> None:
    run = cluster.run(until_lost, algorithm=algorithm)
    run.wait_step(3)
    cluster.kill(1)
    assert run.wait().results == dict.fromkeys((0, 2, 3), (1, 1, 3.0))


@pytest.mark.case(2)
@pytest.mark.parametrize("point", ["ring.reduce_scatter", "ring.all_gather"])
def test_a_death_inside_the_ring_also_frees_the_rank_across(cluster: Cluster, point: str) -> None:
    """Rank 3 hears nothing of rank 1: it waits for ranks 0 and 2, which wait for rank 1."""
    plan = [At(Kill(1), point=point, count=3 * 3 + 2)]
    run = cluster.run(until_lost, algorithm="ring", faults=plan).wait()
    assert run.deaths[1].step == 3
    assert run.results == dict.fromkeys((0, 2, 3), (1, 1, 3.0))


def builtin(worker):
    import torch
    import torch.distributed as dist

    worker.init_process_group()
    tensor = torch.tensor([1.0])
    dist.all_reduce(tensor)
    dist.barrier()
    return tensor.item(), dist.get_world_size()


@pytest.mark.case(24)
def test_a_port_in_use_is_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives the lab ports that are free, also where torch would use a fixed one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with Cluster(2) as cluster, Cluster(2) as another:
            for one in (cluster, another):
                assert one.run(builtin).wait().results == dict.fromkeys(range(2), (2.0, 2))


@pytest.mark.case(23)
def test_torch_distributed_itself_runs_on_the_labs_store(cluster: Cluster) -> None:
    """Also where the keys of a run before it are."""
    for _ in range(2):
        assert cluster.run(builtin).wait().results == dict.fromkeys(range(4), (4.0, 4))


def test_status_is_a_table_of_the_ranks(cluster: Cluster) -> None:
    cluster.kill(3)
    cluster.run(total).wait()
    text = str(cluster.status())
    assert "SIGKILL" in text
    assert "ready" in text


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_any_world_size(n: int) -> None:
    with Cluster(n) as cluster:
        assert cluster.run(total).wait().results == dict.fromkeys(range(n), n * (n + 1) / 2)


def test_mpiexec_starts_the_same_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts").write_text("localhost slots=4  # this one\n")
    monkeypatch.setenv("LABKIT_HOSTFILE", str(tmp_path / "hosts"))
    exec_ = f'exec {find_mpiexec()} "$@"'
    wordy = write_program(tmp_path / "mpiexec", "echo its own words >&2", exec_)
    monkeypatch.setattr("labkit.runtime.launch.mpi.find_mpiexec", lambda: str(wordy))
    container = Container(tmp_path)
    monkeypatch.setenv("LABKIT_PREFIX", f"{container.prefix} MODE='so to speak'")
    # In an allocation of Slurm mpiexec would have `srun` start them, on its nodes.
    words = {"JOB_ID": "7", "JOBID": "7", "NODELIST": "big[1-2]", "TASKS_PER_NODE": "2(x2)"}
    for name, value in words.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with Cluster(3, launcher="mpi") as cluster:
        assert cluster.run(total).wait().results == dict.fromkeys(range(3), 6.0)
        mpis_own = cluster.run(stopwatch.mpi_all_reduces, sizes=[4096], repeats=1)
        assert set(mpis_own.wait(timeout=60).results) == {0, 1, 2}  # without the witness
        run = cluster.run(forever)
        run.wait_step(2)
        cluster.kill(1)
        assert run.wait().results == dict.fromkeys((0, 2), (1, (0, 2)))
        assert run.deaths[1].signal == "SIGKILL"
        cluster.restart(1)
        assert cluster.run(total).wait().results == dict.fromkeys(range(3), 6.0)
        assert container.missing(cluster) == {}
        assert "its own words" in cluster._driver.console.last_words
    assert "its own words" not in capsys.readouterr().out


def test_ranks_that_have_ended_before_anybody_waits_for_them_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = write_program(tmp_path / "mpiexec", "echo no host is up >&2", "exit 3")
    monkeypatch.setattr("labkit.runtime.launch.mpi.find_mpiexec", lambda: str(fails))
    wait_ready = Supervisor.wait_ready

    def late(supervisor: Supervisor, *arguments: Any, **settings: Any) -> None:
        seats = supervisor.driver.seats
        wait_until(lambda: not seats.living(), "ranks that have no process live")
        wait_ready(supervisor, *arguments, **settings)

    monkeypatch.setattr(Supervisor, "wait_ready", late)
    with pytest.raises(RuntimeError, match=r"rank 0 ended with exit code 3 .*\nno host is up"):
        Cluster(2, launcher="mpi")
