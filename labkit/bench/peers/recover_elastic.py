"""recover_elastic.py CASE TIMES SEED: elastic training of the digits loses rank 2 of four.

In the cases of CLUSTERS the rank is killed, and its next life comes from a spare, from the fork
server, or from a Python that has yet to import torch (under mpiexec). In those of SILENT it stands
still (SIGSTOP), or the others hear nothing of it on the lab's wire, and goes on later: its life has
to end then. In the case "host" the cable of its host is out (in a network namespace), and the time
counts that passes until the last survivor has completed an all-reduce of 4 MB with the others.
Not a peer, but measured as they are: a program of its own.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psutil

from labkit import Cluster
from labkit.bench.peers.recover_lab import RANKS, WARM_UP, digits, until_death
from labkit.bench.peers.say import live, say
from labkit.events import Event
from labkit.runtime.run import Run
from labkit.training.loop import train

VICTIM = 2
SURVIVORS = tuple(rank for rank in range(RANKS) if rank != VICTIM)
CLUSTERS: dict[str, dict[str, Any]] = {
    "spare": {"spares": 1},
    "fork": {},
    "python": {"launcher": "mpi"},
}
SILENT = ("stopped", "cut off")
HOST = "host"
SILENCE = 0.15  # three heartbeats of 50 ms
MORE = 5  # steps that all ranks take once they are all back, so that all of it is on record
SECONDS = 60.0


def begin(cluster: Cluster, dice: random.Random) -> tuple[Run, int]:
    """Training under way, at a random moment of a step; and the victim's process."""
    run = cluster.run(train, elastic=True, steps=100_000)
    run.wait_step(WARM_UP, timeout=SECONDS)
    pid = cluster.status().rows[VICTIM]["pid"]
    time.sleep(dice.uniform(0.0, 0.1))
    return run, pid


def replaced(case: str, dice: random.Random) -> None:
    with Cluster(RANKS, "gloo", "cpu", max_restarts=1, **CLUSTERS[case]) as cluster:
        run, pid = begin(cluster, dice)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        poll(run, lambda: have_stepped(run, range(RANKS), killed, RANKS))
        goal = max(run.steps.values()) + MORE
        poll(run, lambda: all(run.steps.get(rank, 0) >= goal for rank in range(RANKS)))
        record = run.events
    say("killed", time=killed, resident=0)
    for rank in SURVIVORS:
        say("out", rank=rank, time=next_step(record, rank, killed, RANKS - 1))
    for rank in range(RANKS):
        say("recovered", rank=rank, time=next_step(record, rank, killed, RANKS))
    say("over", **steps_in(record))


def silent(case: str, dice: random.Random) -> None:
    with Cluster(RANKS, "gloo", "cpu", silence=SILENCE) as cluster:
        run, pid = begin(cluster, dice)
        struck = time.monotonic()
        if case == "stopped":
            os.kill(pid, signal.SIGSTOP)
        else:
            cluster.partition([VICTIM], [*SURVIVORS, cluster.witness])
        poll(run, lambda: have_stepped(run, SURVIVORS, struck, RANKS - 1))
        if case == "stopped":
            os.kill(pid, signal.SIGCONT)
        poll(run, lambda: VICTIM in run.deaths)
        record = run.events
        if set(run.deaths) - {VICTIM}:
            return say("over", spoilt=True)
    say("killed", time=struck, resident=0)
    for rank in SURVIVORS:
        say("out", rank=rank, time=view_without(record, rank, struck))
        say("recovered", rank=rank, time=next_step(record, rank, struck, RANKS - 1))
    return say("over", fenced=run.deaths[VICTIM].code == 1, **steps_in(record))


def lost_with_its_host(dice: random.Random) -> None:
    with Cluster(RANKS, "gloo", "cpu", silence=SILENCE, hosts="namespaces") as cluster:
        run = cluster.run(until_death, job=digits)
        run.wait_step(WARM_UP, timeout=SECONDS)
        time.sleep(dice.uniform(0.0, 0.1))
        pid = cluster.status().rows[VICTIM]["pid"]
        struck = time.monotonic()
        cluster.link_down(VICTIM)
        poll(run, lambda: set(SURVIVORS) <= set(run.results))
        last = {rank: run.results[rank] for rank in SURVIVORS if rank in run.results}
        if len(last) < len(SURVIVORS) or any(out < struck for out, *_ in last.values()):
            return say("over", spoilt=True)
        cluster.link_up(VICTIM)
        poll(run, lambda: not psutil.pid_exists(pid))
        record = run.events
    say("killed", time=struck, resident=0)
    for rank, (out, recovered, size, right) in last.items():
        say("out", rank=rank, time=out)
        say("recovered", rank=rank, time=recovered, size=size, right=right)
    return say("over", **steps_in(record))


def have_stepped(run: Run, ranks: Iterable[int], since: float, size: int) -> bool:
    """Not by the numbers of their steps: those that the driver knows of are a little old."""
    record = [event for event in run.events if event.time > since]
    try:
        return all(next_step(record, rank, since, size) for rank in ranks)
    except LookupError:
        return False


def next_step(record: list[Event], rank: int, since: float, size: int) -> float:
    """When the rank had completed its first step in a new group of so many."""
    formed = 0
    for event in record:
        if event.rank == rank and event.time > since:
            if event.kind == "begin" and event.name == "forming group":
                formed = len(members(event))
            if event.kind == "step" and formed == size:
                return event.time
    raise LookupError(f"rank {rank} has made no step in a new group of {size}")


def view_without(record: list[Event], rank: int, since: float) -> float:
    views = (e for e in record if e.kind == "view" and e.rank == rank and e.time > since)
    return next(e.time for e in views if VICTIM not in members(e))


def members(event: Event) -> Sequence[int]:
    members: Sequence[int] = event.data.get("members", ())
    return members


def steps_in(record: list[Event]) -> dict[str, int]:
    """Steps that a survivor began more than once, and that it completed more than once: what it
    had told of, and so might have been committed, was lost."""
    told = [e for e in record if e.rank in SURVIVORS and "step" in e.data]
    sums = (e for e in told if e.kind == "begin" and e.name == "all-reduce")
    begun = Counter((e.rank, e.data["step"]) for e in sums)
    done = Counter((e.rank, e.data["step"]) for e in told if e.kind == "step")
    again = {step for (_, step), times in begun.items() if times > 1}
    return {"again": len(again), "lost": sum(times > 1 for times in done.values())}


def poll(run: Run, ready: Callable[[], bool]) -> None:
    """Until it is so, or one that did not fall silent is taken for dead."""
    end = time.monotonic() + SECONDS
    while not ready() and not set(run.deaths) - {VICTIM}:
        if time.monotonic() > end:
            raise TimeoutError("it did not go on")
        time.sleep(0.02)


if __name__ == "__main__":
    live(600)
    case, times, dice = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
    for _ in range(times):
        if case == HOST:
            lost_with_its_host(dice)
        else:
            (silent if case in SILENT else replaced)(case, dice)
