"""hosts.3: an incident on several hosts, in which a scheduler that means well has the last word.

The log is drawn as runs of the lab write it: the connections of a dead process are closed within
30 ms, a lost host is silent for as long as the detector waits, and one that is cut off says of its
neighbours what they say of it. Who has no connection to the victim hears of the scheduler alone.
The clocks of the hosts begin with their boots.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from labkit.checks import Case
from labkit.grading.diagnosis import named
from labkit.grading.exercise import Property
from labkit.views.witnesses import witnesses

Entry = tuple[int, float, str, int | None]
Hosts = dict[int, str]
CAUSES = ("process died", "host lost", "cut off", "preempted")
SILENCE = 0.5
"""Seconds without a heartbeat, after which a rank is suspected."""


def draw_incident(r: random.Random) -> tuple[list[Entry], Hosts, dict[str, float]]:
    """In nine of ten the scheduler ends the job afterwards."""
    names = [f"n{number}" for number in r.sample(range(1, 40), r.randrange(3, 6))]
    each = r.randrange(2, 4)
    hosts = {rank: names[rank // each] for rank in range(each * len(names))}
    ahead = {name: round(r.uniform(-90, 90), 3) for name in names}
    cause, victim = r.choice(CAUSES), r.choice(names)
    log, gone = begins(r, cause, victim, hosts)
    if r.random() < 0.9:
        log += scheduler(r, hosts, gone, after=max(time for _, time, _, _ in log))
    told: list[Entry] = [(a, time + ahead[hosts[a]], what, b) for a, time, what, b in log]
    return sorted(told, key=lambda entry: entry[1]), hosts, ahead  # as one who trusts the stamps


def begins(
    r: random.Random, cause: str, victim: str, hosts: Hosts
) -> tuple[list[Entry], dict[int, float]]:
    """What is written down of the fault itself, in true time, and who is gone since when."""
    begin = 100 + r.uniform(0, 1)
    its = [rank for rank, host in hosts.items() if host == victim]
    if cause == "process died":
        dead = r.choice(its)
        return closings(r, hosts, {dead: begin}), {dead: begin}
    if cause == "preempted":  # notice for one host alone: its ranks write a checkpoint, and leave
        left = {rank: begin + r.uniform(0.5, 1.5) for rank in its}
        return notices(r, its, begin) + closings(r, hosts, left), left
    pairs = [(a, b) for b in its for a in neighbours(b, hosts) if hosts[a] != victim]
    if cause == "cut off":
        pairs += [(b, a) for a, b in pairs]
    end = begin + SILENCE
    return [(a, end + r.uniform(0, 0.1), "silence", b) for a, b in pairs], dict.fromkeys(its, begin)


def scheduler(r: random.Random, hosts: Hosts, gone: dict[int, float], after: float) -> list[Entry]:
    """A node is not what it was, so it ends the whole job: whoever can still be reached."""
    begin = after + r.uniform(0.2, 2)
    ends = {rank: begin + r.uniform(0.1, 0.5) for rank in hosts if rank not in gone}
    return notices(r, ends, begin) + [e for e in closings(r, hosts, ends) if e[0] in ends]


def notices(r: random.Random, ranks: Iterable[int], begin: float) -> list[Entry]:
    return [(rank, begin + r.uniform(0, 0.02), "told to end", None) for rank in ranks]


def neighbours(rank: int, hosts: Hosts) -> tuple[int, int]:
    """Those with a connection to it: ranks make a ring."""
    return (rank - 1) % len(hosts), (rank + 1) % len(hosts)


def closings(r: random.Random, hosts: Hosts, ends: dict[int, float]) -> list[Entry]:
    """What neighbours that outlive them write down: a kernel closes the connections of those who
    end."""
    seen: list[Entry] = []
    for gone, end in ends.items():
        for rank in neighbours(gone, hosts):
            heard = end + r.uniform(0.005, 0.03)
            if heard < ends.get(rank, heard + 1):
                seen.append((rank, heard, "connection closed", gone))
    return seen


def picture(cases: Sequence[Case]) -> Any:
    """The first wrong case, else the first, on one clock."""
    case = next((c for c in cases if c.expected != c.got), cases[0])
    yours, right = (getattr(said, "answer", None) for said in (case.got, case.expected))
    told = f"You say {yours!r:.50}"
    if right:  # a student's copy does not have the whole of it
        told = f"It was {right[1]}: {right[0]}" + ("" if yours == right else f"; y{told[1:]}")
    log, hosts, ahead = case.arguments
    return witnesses(log, hosts, ahead, accused=right and right[1], title=told)


half = partial(named, pair="a cause and a host")
PROPERTIES = [
    Property("which host it was", draw_incident, partial(half, place=1), cases=20, picture=picture),
    Property(
        "and what happened to it", draw_incident, partial(half, place=0), cases=20, picture=picture
    ),
]
