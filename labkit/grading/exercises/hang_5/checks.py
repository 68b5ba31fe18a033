"""hang.5: recorded incidents (`labkit/data/incidents.json`), with other ranks and other numbers.

Who waits for a dead or silent rank may be one collective behind the others, since it heard of the
death, or was asked, a moment earlier: that is in the records too, and it is nobody's fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property

Incident = dict[int, dict[str, Any]]


@cache
def those(silent: bool) -> list[dict[str, Any]]:
    """The recorded incidents in which the victim does not answer, or the others."""
    from labkit.views.evidence import recorded

    return [one for one in recorded() if (one["incident"][one["rank"]]["calls"] is None) == silent]


def disguised(r: random.Random, one: dict[str, Any]) -> tuple[Incident, int]:
    """The same incident with the ranks shuffled and the collectives renumbered; and the victim."""
    names = r.sample(range(len(one["incident"])), len(one["incident"]))
    shift = r.randrange(5000)
    incident: Incident = {}
    for rank in sorted(one["incident"], key=names.__getitem__):
        seen = one["incident"][rank]
        calls = seen["calls"] and [[number + shift, *rest] for number, *rest in seen["calls"]]
        incident[names[rank]] = {**seen, "calls": calls}
    return incident, names[one["rank"]]


def draw_silent(r: random.Random) -> tuple[Incident]:
    """Often one of the others is one call behind."""
    incident, victim = disguised(r, r.choice(those(silent=True)))
    early = r.choice([rank for rank in incident if rank != victim])
    if r.random() < 0.7:
        incident[early]["calls"].pop()
    return (incident,)


def draw_all_answer(r: random.Random) -> tuple[Incident]:
    return (disguised(r, r.choice(those(silent=False)))[0],)


def named(function: Callable[..., Any], incident: Incident) -> dict[str, Any]:
    """The two halves of a diagnosis."""
    answer = function(incident)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return {"(cause, rank)": f"{answer!r:.60}"}
    return {"cause": answer[0], "rank": answer[1]}


def records(cases: Sequence[Case]) -> Any:
    """The evidence of the first wrong case, else of the first; the victim is marked."""
    from labkit.views.evidence import evidence

    case = next((case for case in cases if case.got != case.expected), cases[0])
    cause, rank = case.expected["cause"], case.expected["rank"]
    return evidence(case.arguments[0], f"Rank {rank}: {cause}", accused=rank)


PROPERTIES = [
    Property("a rank that does not answer", draw_silent, named, cases=30, picture=records),
    Property("all answer, and nobody goes on", draw_all_answer, named, cases=30, picture=records),
]
