"""Drivers that are killed, interrupted, stopped or exit: seen from outside, by pid."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import psutil
import pytest
from outside import is_fork_server, running, wait_until, workers

from labkit import Cluster

PROLOGUE = """
import sys, time
from labkit import Cluster

def total(worker):
    import torch
    return worker.group.all_reduce(torch.tensor([worker.rank + 1.0])).item()

def forever(worker):
    step = 0
    while True:
        step += 1
        worker.group.all_reduce(worker.tensor(10))
        worker.step(step)

def say(*words):
    print(*words, flush=True)
"""


PATIENCE = 120.0
"""Seconds after which a session that does not say what is expected is ended."""


class Session:
    """A driver in a process of its own, as a notebook's kernel is: it prints, and can be hurt."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell that starts tests in the background lets them ignore it, and all below them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.said: list[str] = []
        self.patience = threading.Timer(PATIENCE, self.process.kill)
        self.patience.start()

    def expect(self, word: str) -> str:
        for line in self.process.stdout:  # type: ignore[union-attr]
            self.said.append(line)
            if line.startswith(word):
                return line.strip()
        raise AssertionError(f"no {word!r} in: {''.join(self.said)}")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    session = Session(request.param)
    yield session
    session.patience.cancel()
    session.process.kill()
    session.process.wait()
    session.process.stdout.close()  # type: ignore[union-attr]


def all_gone(family: list[psutil.Process]) -> None:
    wait_until(lambda: not any(map(running, family)), f"some of {family} still run")


LIVES = """
cluster = Cluster(4, spares=1)
run = cluster.run(forever)
run.wait_step(3)
if pausing:
    cluster.pause(1)
say("running")
time.sleep(60)
"""
# Without Linux's death signal nobody is left to end a stopped worker when both its driver and the
# fork server have been killed.
PORTABLE = os.environ.get("LABKIT_PORTABLE") == "1"


@pytest.mark.parametrize("session", ["pausing = True" + LIVES], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_all_workers_go_with_the_driver(session: Session, number: int) -> None:
    """Also the one that is stopped, and cannot hear that its driver is gone."""
    session.expect("running")
    family = session.family()
    assert len(family) == 7  # the fork server, four ranks, the witness, the spare
    os.kill(session.process.pid, number)
    all_gone(family)


@pytest.mark.parametrize("session", [f"pausing = {not PORTABLE}" + LIVES], indirect=True)
def test_all_workers_go_with_the_fork_server_and_the_driver_says_so(session: Session) -> None:
    session.expect("running")
    family = session.family()
    (server,) = [p for p in family if is_fork_server(p)]
    server.kill()
    session.process.kill()
    all_gone(family)


@pytest.mark.case(8)
@pytest.mark.parametrize(
    "session",
    [
        """
        cluster = Cluster(4)
        run = cluster.run(forever)
        run.wait_step(3)
        try:
            say("waiting")
            run.wait()
        except KeyboardInterrupt:
            say("interrupted", cluster.run(total).wait().results)
        """
    ],
    indirect=True,
)
def test_an_interrupted_wait_leaves_a_cluster_that_answers(session: Session) -> None:
    session.expect("waiting")
    os.kill(session.process.pid, signal.SIGINT)
    assert "{0: 10.0" in session.expect("interrupted").replace("1: 10.0, 0", "0: 10.0, 0")
    assert session.process.wait(20) == 0


@pytest.mark.case(8)
@pytest.mark.parametrize(
    "session",
    [
        """
        from labkit.runtime.watch import Watch
        look = Watch.look
        with Cluster(2) as cluster:
            run = cluster.run(forever)
            run.wait_step(3)
            Watch.look = lambda watch: (say("waiting"), look(watch))
            run.wait()
        """
    ],
    indirect=True,
)
def test_an_interrupt_in_a_block_does_not_promise_its_cluster(session: Session) -> None:
    session.expect("waiting")
    os.kill(session.process.pid, signal.SIGINT)
    told = session.expect("KeyboardInterrupt")
    assert "with rank 0 (ready" in told
    assert "the cluster ends with its block: run the cell again" in told


@pytest.mark.parametrize(
    "session",
    [
        """
        with Cluster(3) as cluster:
            cluster.run(forever).wait_step(2)
            say("in the block")
            raise RuntimeError("an error in the block")
        """
    ],
    indirect=True,
)
def test_an_error_in_the_block_ends_the_cluster(session: Session) -> None:
    session.expect("in the block")
    family = session.family()
    session.expect("RuntimeError: an error in the block")
    all_gone(family)


@pytest.mark.parametrize(
    "session",
    [
        """
        import threading
        clusters = []
        maker = threading.Thread(target=lambda: clusters.append(Cluster(2)))
        maker.start()
        maker.join()
        for _ in range(2):
            print(clusters[0].run(total).wait().results)
        say("alive", sorted(clusters[0].run(total).wait().results))
        """
    ],
    indirect=True,
)
def test_a_cluster_outlives_the_thread_that_made_it(session: Session) -> None:
    assert session.expect("alive") == "alive [0, 1]"


def test_a_new_cluster_in_the_same_name_replaces_the_old_one() -> None:
    for _ in range(3):
        cluster = Cluster(2)
        cluster.run(lambda worker: None).wait()
    wait_until(lambda: len(workers()) == 3, "the replaced clusters still run")
    cluster.close()


@pytest.mark.case(50)
@pytest.mark.parametrize(
    "session",
    [
        """
        cluster = Cluster(4, deadline=2.0, patience=2.0)
        run = cluster.run(forever)
        run.wait_step(3)
        say("running")
        before = max(run.steps.values())
        run.wait_step(before + 200, timeout=60)
        say("went on", run.deaths, run.errors)
        """
    ],
    indirect=True,
)
def test_a_sleeping_laptop_causes_no_false_death(session: Session) -> None:
    """Every process stands still for longer than any deadline, and goes on."""
    session.expect("running")
    everyone = [psutil.Process(session.process.pid), *session.family()]
    for process in everyone:
        process.suspend()
    threading.Event().wait(4.0)  # the sleep is what is tested
    for process in everyone:
        process.resume()
    assert session.expect("went on") == "went on {} {}"


def worker_loop(worker):
    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(5000), 0
    while step < 100_000:
        step += 1
        worker.step(step)
        try:
            group.all_reduce(tensor)
        except PeerLost:
            group = worker.regroup()
    return step


@pytest.mark.parametrize("block", range(5))
def test_kills_and_pauses_at_random_moments_leave_no_survivor_hanging(block: int) -> None:
    draw = random.Random(block)
    for _ in range(10):
        world = draw.choice([2, 3, 4, 5])
        with Cluster(world, deadline=20.0, patience=20.0) as cluster:
            run = cluster.run(worker_loop)
            run.wait_step(draw.randrange(1, 30))
            # As many at once as leave a majority of the ranks and the witness.
            victims = draw.sample(range(world + 1), draw.randrange(1, world // 2 + 1))
            for victim in victims:
                if draw.random() < 0.3:
                    cluster.pause(victim, seconds=draw.uniform(0.0, 0.2))
                else:
                    cluster.kill(victim)
            seats = cluster._driver.seats.values()
            dead = {s.rank for s in seats if s.killed and not s.witness}
            reached = max(run.steps.values())
            run.wait_step(reached + 20)
            run._watch(lambda run=run, dead=dead: set(run.deaths) >= dead, 60.0, "the deaths")
            run.cancel()
            assert set(run.deaths) == dead
            assert {e.kind for e in run.errors.values()} <= {"Cancelled"}, run.errors
            pids = [s.pid for s in cluster._driver.seats.values()]
        assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_under_load_on_both_cores() -> None:
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        for _ in range(3):
            with Cluster(4, deadline=60.0) as cluster:
                run = cluster.run(worker_loop)
                run.wait_step(5)
                cluster.kill(2)
                reached = max(run.steps.values())
                run.wait_step(reached + 5)  # the others may have been there when rank 2 died
                run._watch(lambda run=run: bool(run.deaths), 60.0, "a death")
                assert set(run.deaths) == {2}
                assert not run.errors
    finally:
        for process in busy:
            process.kill()
            process.wait()
