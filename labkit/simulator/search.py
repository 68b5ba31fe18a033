"""Breadth-first search over the states of anything: `exhaustive` does it for the lab's protocols.

The first violation that is found is one with the fewest steps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

State = TypeVar("State", bound=Hashable)


class Found(NamedTuple):
    """What a search saw: distinct `states`, how many steps it tried (`generated`), and the `depth`,
    all as the model checker TLC counts them: the initial state has been generated, too, and has
    depth 1. With a `violation`, the `steps` lead there."""

    states: int
    generated: int
    depth: int
    complete: bool = True
    violation: str = ""
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.violation:
            told = "\n".join(f"{i + 1:3}. {step}" for i, step in enumerate(self.steps))
            return f"after {self.states:,} states:\n{told}\nand so: {self.violation}"
        extent = "" if self.complete else ", and deeper ones were not looked at"
        return f"{self.states:,} states to depth {self.depth}{extent}: every invariant holds"


def search(
    initial: State,
    successors: Callable[[State], Iterable[tuple[str, State]]],
    broken: Callable[[State], str] = lambda state: "",
    forbidden: Callable[[State, State], str] = lambda before, after: "",
    depth: int | None = None,
    limit: int = 1_000_000,
    progress: Callable[[int], None] = lambda states: None,
) -> Found:
    """Visits every state that can be reached, nearest first, or those down to a `depth`.

    `successors(state)` are steps, in words, and where they lead. `broken(state)` and
    `forbidden(before, after)`, which looks at every step, are a sentence, or "" while all is well.
    `progress` is told after each level how many states have been seen. Raises RuntimeError when
    there are more than `limit` of them.
    """
    came: dict[State, tuple[State, str] | None] = {initial: None}
    generated, level, frontier = 1, 1, [initial]
    if violation := broken(initial):
        return Found(1, 1, 1, True, violation)
    while frontier and level != depth:
        after: list[State] = []
        for state in frontier:
            for step, new in successors(state):
                generated += 1
                is_new = new not in came
                violation = forbidden(state, new) or (broken(new) if is_new else "")
                if violation:
                    steps = (*_steps(came, state), step)
                    return Found(len(came) + is_new, generated, level + 1, True, violation, steps)
                if is_new:
                    came[new] = state, step
                    after.append(new)
                    if len(came) > limit:
                        raise RuntimeError(f"more than {limit:,} states: make it smaller")
        progress(len(came))
        frontier, level = after, level + bool(after)
    return Found(len(came), generated, level, not frontier)


def _steps(came: Mapping[State, tuple[State, str] | None], there: State) -> tuple[str, ...]:
    steps: list[str] = []
    while (last := came[there]) is not None:
        there, step = last
        steps.append(step)
    return tuple(reversed(steps))
