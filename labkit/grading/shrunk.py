"""The fewest faults that show what is wrong with an answer, told in ten lines and drawn.

Only exercises of which the simulator judges have this: their properties have a *trial*, which puts
the answer into a scenario, and schedules to play it in. Of the first that breaks an invariant
`labkit.simulator.shrink` deletes what is not needed, with the answer running again each time. It
changes no verdict; where it finds nothing in time there is nothing to show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.simulator.finding import Finding, watch
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import Schedule
from labkit.simulator.shrink import shrink, violation

if TYPE_CHECKING:
    from labkit.checks import Case

SECONDS = 2.0
"""For one property, in a notebook and in the grader; a schedule of six faults takes 0.3 s there."""
TRIES = 100
Trial = Callable[..., tuple[Scenario, Mapping[str, Schedule]]]
"""`trial(function, *arguments)`: a scenario with the answer in it, and its schedules by name."""


def shortest(trial: Trial, function: Callable[..., Any], case: Case) -> Finding | None:
    """What is left of the first schedule that breaks an invariant; then `case.got.seen`, if there
    is such a thing, is the run of it. Raises what the answer raises."""
    until = time.monotonic() + SECONDS
    scenario, schedules = trial(function, *case.arguments)
    for schedule in schedules.values():
        if time.monotonic() > until:
            break
        found = violation(scenario, schedule)
        if found is not None:
            small = shrink(scenario, schedule, found.name, TRIES, until)
            run, finding = watch(scenario, small, schedule)
            if finding is not None and hasattr(case.got, "seen"):
                case.got.seen = run
            return finding
    return None


def told(finding: Finding) -> list[str]:
    """The schedule and its story, in lines."""
    before, after = len(finding.found_with.plan), len(finding.schedule.plan)
    head = f"it takes {after} of the {before} faults: {finding.faults}."
    head = head if after else "it takes no fault at all."
    network = finding.schedule.network
    odd = {"lost": network.loss, "repeated": network.duplicate, "late": network.tail}
    if words := " and ".join(word for word, probability in odd.items() if probability):
        head += f" Messages are {words} now and then."
    return [f"In the simulator {head}", *finding.story.splitlines()]


def drawn(
    picture: Callable[[Sequence[Case]], Any] | None,
    cases: Sequence[Case],
    finding: Finding | None,
) -> Any:
    """The figure of a check: the exercise's own, or what was found, or expected beside got."""
    from labkit.views.check import expected_beside_got

    if picture is None and finding is not None:
        return finding.timeline()
    return (picture or expected_beside_got)(cases)
