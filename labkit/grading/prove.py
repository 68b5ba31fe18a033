"""The grader is graded: what must be so of every exercise before anybody is judged by it."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import torch

from labkit import check
from labkit.collectives.trace import Stuck
from labkit.faults import At, Kill
from labkit.grading import score
from labkit.grading.exercise import Graded, Mutant, Property, counted
from labkit.grading.jail import Zygote
from labkit.grading.record import Verdict
from labkit.protocols.effects import Protocol

MUTANTS = 3
"""That an exercise needs; where a bug is to be found, that students are given."""
SEEDS = range(3)
SMALL: tuple[Any, ...] = (None, True, False, 0, 1, "", [], {})
ONES = torch.ones(3)
# fmt: off
ODD: tuple[Any, ...] = (
    10**400, -(10**400), math.nan, -math.inf, b"x", "x" * 999,
    {1, 2}, {1: {2: [3]}}, [[1], [1, 2]], [(1, 2)], ("a", "b"),
    [10**400] * 3, [None] * 3, [math.nan, math.inf], (10**400, math.nan),
    ONES, ONES.bfloat16(), torch.tensor(True), [ONES] * 3, (ONES[:0], ONES[:0]), numpy.ones(3),
    [At(Kill(0), seconds=1.0)],
)
# fmt: on
"""Constants that any exercise is tried with, beside its own right answers. The grader must be able
to compare whatever comes: what it cannot judge is its own failure, and the whole class waits."""


def complaints(graded: Graded, zygote: Callable[[], Zygote]) -> Iterator[str]:
    """A sentence for each thing that is wrong with the exercise; none when it is proved."""
    if len(graded.mutants) < MUTANTS:
        yield f"{graded.id} has {counted(len(graded.mutants), 'mutant')}; it needs {MUTANTS}"
    if graded.about.kind == "find" and len(graded.given) < MUTANTS:
        yield f"{graded.id} gives students {counted(len(graded.given), 'bug')}; it needs {MUTANTS}"
    for prop in graded.properties:
        stub = score.judge(zygote, graded, prop, graded.skeleton, 0)
        undone = graded.about.kind == "find" or stub.sentence == "not done yet"
        if stub.verdict is not Verdict.FAIL or not undone:
            yield f"{prop.title}: the stub gives {stub.verdict} ({stub.sentence})"
        solved = score.judge(zygote, graded, prop, graded.reference, 0)
        if solved.verdict is not Verdict.PASS:
            yield f"{prop.title}: the solution gives {solved.verdict} ({solved.sentence})"
        yield from constants(graded, prop)
    for mutant in graded.mutants.values():
        for prop in graded.properties:
            if mutant.given or prop.title == mutant.killed_by:
                yield from lives(graded, mutant, prop, zygote)


def lives(
    graded: Graded, mutant: Mutant, prop: Property, zygote: Callable[[], Zygote]
) -> Iterator[str]:
    """Where a mutant gets through. One that is given to students must be shown to be wrong: who is
    to find a bug needs more than an error."""
    source = graded.mutated(mutant)
    found = score.judge(zygote, graded, prop, source, 0).verdict
    if found in (Verdict.PASS, Verdict.UNKNOWN) or (mutant.given and found is not Verdict.FAIL):
        yield f"mutant {mutant.name!r} gives {found} in {prop.title!r}"
    if any(holds(graded, prop, graded.define(source), seed) for seed in SEEDS):
        yield f"mutant {mutant.name!r} lives through some of the seeds of {prop.title!r}"


class Idle(Protocol):
    """A node that does nothing, whatever it hears."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *arguments: None


def holds(graded: Graded, prop: Property, function: Callable[..., Any], seed: int) -> bool:
    """Whether the property holds of a function of the lab's own, in this process. Raises what the
    check raises."""
    reference = graded.define(graded.reference)
    for arguments in score.draws(graded, prop, seed):
        expected = prop.run(reference, *copy.deepcopy(arguments))
        try:
            got = prop.run(function, *copy.deepcopy(arguments))
        except Stuck:
            return False
        if check.difference(expected, got, prop.tolerance):
            return False
    return True


def constants(graded: Graded, prop: Property) -> Iterator[str]:
    """An answer that does not look at its arguments must not hold, whatever it says; nor one that
    hands back an argument as it came; nor a node that does nothing at all."""
    reference = graded.define(graded.reference)
    if isinstance(reference, type):
        if holds(graded, prop, Idle, 1):
            yield f"{prop.title}: a node that does nothing passes"
        return
    draws = score.draws(graded, prop, 0)
    values = [*SMALL, *ODD, *(answer_to(reference, prop, copy.deepcopy(a)) for a in draws)]
    lazy: list[tuple[str, Callable[..., Any]]] = [
        (f"always returns {check.text(value)}", lambda *arguments, value=value: value)  # type: ignore[misc]
        for value in values
    ]
    for place in range(len(inspect.signature(reference).parameters)):
        lazy.append(
            (f"returns argument {place + 1}", lambda *arguments, place=place: arguments[place])
        )
    for says, function in lazy:
        told = f"{prop.title}: a function that {says}"
        try:
            if holds(graded, prop, function, 1):
                yield f"{told} passes"
        except Exception as error:
            yield f"{told} breaks the check: {type(error).__name__}: {error}"


def answer_to(reference: Callable[..., Any], prop: Property, arguments: tuple[Any, ...]) -> Any:
    """What the reference itself returned last, when `prop.run` called it."""
    said: list[Any] = [None]

    def listening(*inner: Any) -> Any:
        said[0] = reference(*inner)
        return said[0]

    prop.run(listening, *arguments)
    return said[0]
