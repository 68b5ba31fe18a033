"""The exercises of notebook 00, A cluster in your notebook."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from labkit.checks import Exercise
from labkit.views.space_time import Entry
from labkit.views.suspects import suspects_picture
from labkit.views.token import token_picture

SILENCE = 1.0
"""Seconds without any news after which ranks that still run are taken to wait for each other;
passing a token round takes 0.01 s."""


class Ranks(int):
    """A world size, to be read where the call has its worker: `pass_token(worker=<any of 3>)`."""

    def __repr__(self) -> str:
        return f"<any of {int(self)}>"


# ---- cluster.1: a token goes round the ring, on real processes --------------------------------


def pass_token(worker: Any, laps: int) -> list[int]:
    left, right = (worker.rank - 1) % worker.world_size, (worker.rank + 1) % worker.world_size
    token: list[int] = []
    for lap in range(laps):
        if worker.rank > 0 or lap > 0:
            token = worker.receive(left)
        token = [*token, worker.rank]
        worker.send(right, token)
    return worker.receive(left) if worker.rank == 0 else token


def everybody_listens(worker: Any, laps: int) -> list[int]:
    left, right = (worker.rank - 1) % worker.world_size, (worker.rank + 1) % worker.world_size
    token: list[int] = []
    for _ in range(laps):
        token = [*worker.receive(left), worker.rank]
        worker.send(right, token)
    return token


def everybody_starts(worker: Any, laps: int) -> list[int]:
    left, right = (worker.rank - 1) % worker.world_size, (worker.rank + 1) % worker.world_size
    token: list[int] = []
    for _ in range(laps):
        token = [*token, worker.rank]
        worker.send(right, token)
        token = worker.receive(left)
    return token


def nobody_brings_it_home(worker: Any, laps: int) -> list[int]:
    left, right = (worker.rank - 1) % worker.world_size, (worker.rank + 1) % worker.world_size
    token: list[int] = []
    for lap in range(laps):
        if worker.rank > 0 or lap > 0:
            token = worker.receive(left)
        token = [*token, worker.rank]
        worker.send(right, token)
    return token


def call(worker: Any, function: Callable[..., Any], laps: int) -> Any:
    return function(worker, laps)


def run_on_ranks(function: Callable[..., Any], ranks: int, laps: int) -> dict[int, Any]:
    """What the function returned on each rank, or a sentence for one that waits and waits.

    Raises what the function raised, with the rank in its words.
    """
    from labkit.runtime.cluster import Cluster

    with Cluster(int(ranks), backend="gloo", device="cpu", record=False) as cluster:
        run = cluster.run(call, function=function, laps=laps)
        while not run.done and time.monotonic() - run.news < SILENCE:
            time.sleep(0.01)
        for rank, error in sorted(run.errors.items()):
            if error.kind == "NotImplementedError":
                raise NotImplementedError(error.message)
            raise RuntimeError(f"on rank {rank}: {error.kind}: {error.message}")
        return {rank: run.results.get(rank, "waits for ever") for rank in range(ranks)}


def draw_ring(r: random.Random) -> tuple[Ranks, int]:
    return Ranks(r.randint(2, 5)), r.randint(2, 3)


# ---- cluster.2: what can have caused the crash -------------------------------------------------


def suspects(log: list[Entry], crash: int) -> list[int]:
    """The places in `log` of all events that happened before number `crash`."""
    found: set[int] = set()
    waiting = [crash]
    while waiting:
        b = waiting.pop()
        earlier = [a for a in range(len(log)) if directly_before(log, a, b)]
        waiting += [a for a in earlier if a not in found]
        found.update(earlier)
    return sorted(found)


def directly_before(log: list[Entry], a: int, b: int) -> bool:
    """On one rank, or the two ends of one message."""
    (rank_a, kind_a, message_a), (rank_b, kind_b, message_b) = log[a], log[b]
    if rank_a == rank_b:
        return a < b
    return (kind_a, kind_b) == ("send", "receive") and message_a == message_b


def all_that_is_above(log: list[Entry], crash: int) -> list[int]:
    return list(range(crash))


def only_its_own_rank(log: list[Entry], crash: int) -> list[int]:
    return [a for a in range(crash) if log[a][0] == log[crash][0]]


def only_one_message_away(log: list[Entry], crash: int) -> list[int]:
    own = only_its_own_rank(log, crash)
    return sorted({a for b in [crash, *own] for a in range(len(log)) if directly_before(log, a, b)})


def one_pass_upwards(log: list[Entry], crash: int) -> list[int]:
    found = {crash}
    for a in reversed(range(crash)):
        if any(directly_before(log, a, b) for b in found):
            found.add(a)
    return sorted(found - {crash})


def draw_incident(r: random.Random) -> tuple[list[Entry], int]:
    """Fourteen events of four ranks, merged by the clocks of ranks that do not agree."""
    true: list[Entry] = []
    in_flight: list[tuple[int, str]] = []
    letters = iter("abcdefghijklmnop")
    while len(true) < 14:
        rank = r.randrange(4)
        arrived = [message for to, message in in_flight if to == rank]
        chance = r.random()
        if arrived and chance < 0.75:
            in_flight.remove((rank, arrived[0]))
            true.append((rank, "receive", arrived[0]))
        elif chance < 0.85:
            letter = next(letters)
            in_flight.append((r.choice([x for x in range(4) if x != rank]), letter))
            true.append((rank, "send", letter))
        else:
            true.append((rank, "work", None))
    heard = [rank for rank, kind, _ in true if kind == "receive"]
    true.append((heard[-1] if heard else 0, "crash", None))
    if len(heard) < 4 or not 4 <= len(suspects(true, 14)) <= 10:
        return draw_incident(r)  # too little talk, or too few innocents, to tell answers apart
    wrong_by = [r.uniform(-8, 8) for _ in range(4)]
    shown = sorted(range(len(true)), key=lambda i: i + wrong_by[true[i][0]])
    log, crash = [true[i] for i in shown], shown.index(len(true) - 1)
    return (
        draw_incident(r) if one_pass_upwards(log, crash) == suspects(log, crash) else (log, crash)
    )


EXERCISES = {
    "cluster.1": Exercise(
        pass_token,
        draw_ring,
        mistakes={
            "everybody listens and nobody speaks; rank 0 has to start": everybody_listens,
            "there is one token; you started one on every rank": everybody_starts,
            "the last lap ends at rank 0, which has to receive it": nobody_brings_it_home,
        },
        run=run_on_ranks,
        picture=token_picture,
        cases=2,
        seconds=30.0,
    ),
    "cluster.2": Exercise(
        suspects,
        draw_incident,
        mistakes={
            "the clocks lie, so a place in the log says nothing between ranks": all_that_is_above,
            "a message carries suspicion from one rank to another": only_its_own_rank,
            "the sender may itself have been told: follow messages to messages": (
                only_one_message_away
            ),
            "one pass is not enough, a message may stand above its own sending": one_pass_upwards,
        },
        picture=suspects_picture,
    ),
}
