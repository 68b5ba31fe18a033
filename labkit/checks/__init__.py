"""What `check` is told of an exercise, and where it finds it: its folder in
`labkit/grading/exercises` holds one entry for each of its properties.

1. `reference(*arguments)` is the right answer; `draw(random)` returns the arguments of one case.
2. `mistakes` maps a sentence to the wrong function that a learner is likely to write: when every
   answer equals the mistake's, the check says the sentence.
3. An answer that is no plain function of its arguments needs `run(function, *arguments)`: how to
   run it (on n ranks, say, over memory links) and get the value that is compared.
4. `picture(cases) -> Figure` replaces the drawing of expected beside got; `seconds` bounds it all.
5. `trial`, where the simulator judges, is what the fewest faults are searched with that show what
   is wrong (`labkit.grading.shrunk`).

Values are compared by `labkit.check.difference`: numbers to `tolerance` (relative), arrays and
tensors with their shapes, containers item by item.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.grading.shrunk import Trial


@dataclass(frozen=True)
class Case:
    """One drawn case: what went in, what should come out, what came out."""

    arguments: tuple[Any, ...]
    expected: Any
    got: Any


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@dataclass(frozen=True)
class Exercise:
    """What `check` needs to know of one exercise; the fields are explained above. `title` is that
    of the property, where an exercise has several. `known` are right answers by what they are drawn
    from, in a copy of the lab that has no solutions."""

    reference: Callable[..., Any]
    draw: Callable[[random.Random], tuple[Any, ...]]
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    run: Callable[..., Any] = call
    picture: Callable[[Sequence[Case]], Any] | None = None
    cases: int = 6
    seconds: float = 10.0
    tolerance: float = 1e-6
    title: str = ""
    known: Mapping[str, Any] | None = None
    trial: Trial | None = None


def parts(name: str) -> list[Exercise]:
    """What is to be checked of `name`: each property of the exercise. Raises KeyError with a
    sentence."""
    from labkit.grading import exercise

    graded = exercise.load(name)
    return [graded.as_checked(prop) for prop in graded.properties]
