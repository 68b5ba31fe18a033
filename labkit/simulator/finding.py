"""A violation as it is shown: what broke, the schedule that breaks it, a story and a picture."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from labkit.events import Event
from labkit.simulator.invariants import Violation
from labkit.simulator.scenario import Scenario, finish, prepare
from labkit.simulator.schedule import Schedule
from labkit.simulator.simulation import Simulation
from labkit.simulator.story import tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Finding(Struct, frozen=True):
    """The invariant's `name` and `title`, what it says, and how to see it again. `events` are those
    of the run up to the violation: the bug may not be in the code any more when they are drawn."""

    name: str
    title: str
    what: str
    schedule: Schedule
    found_with: Schedule
    story: str
    scenario: str
    events: tuple[Event, ...]

    @property
    def faults(self) -> str:
        """What is left of the schedule, in words: `Kill(rank=2) at 1.5 s, Restart(rank=2) at …`."""
        return ", ".join(f"{entry.fault} at {entry.seconds:g} s" for entry in self.schedule.plan)

    @property
    def kinds(self) -> str:
        """The same without the times, which are drawn: so two findings are compared."""
        return ", ".join(str(entry.fault) for entry in self.schedule.plan) or "no fault at all"

    @property
    def replay(self) -> str:
        """The line of code that replays it."""
        return f"play({self.scenario}, {self.schedule!r})"

    def timeline(self, title: str | None = None, **options: Any) -> Figure:
        """The picture of the run, which ends when the invariant breaks."""
        from labkit.views.timeline import timeline

        told = title or shorten(f"{self.name} breaks: {self.what}", 90, placeholder=" …")
        return timeline(self.without_clients(), title=told, **options)

    def without_clients(self) -> list[Event]:
        """Who is no member, and does nothing but ask and hear, would only take up room."""
        silent = ("start", "send", "receive")
        shown = {e.rank for e in self.events if e.kind not in silent} | set(range(self.schedule.n))
        return [e for e in self.events if {e.rank, e.data.get("peer", e.rank)} <= shown]

    def __str__(self) -> str:
        before, after = len(self.found_with.plan), len(self.schedule.plan)
        return (
            f"seed {self.found_with.seed}: {self.name} ({self.title}) does not hold.\n"
            f"Shrunk from {before} faults in {self.found_with.seconds:g} s to {after} in "
            f"{self.schedule.seconds:g} s:\n{self.story}\nTo see it again:\n{self.replay}"
        )

    __repr__ = __str__


def observe(
    scenario: Scenario, schedule: Schedule, found_with: Schedule | None = None
) -> Finding | None:
    """What a schedule breaks, if anything. `found_with` is the one of which it is what is left."""
    return watch(scenario, schedule, found_with)[1]


def watch(
    scenario: Scenario, schedule: Schedule, found_with: Schedule | None = None
) -> tuple[Simulation, Finding | None]:
    """The same, with the recorded run: it ends where an invariant breaks."""
    sim = prepare(scenario, schedule, record=True)
    assert sim.recorder is not None
    try:
        finish(scenario, schedule, sim)
    except Violation as broken:
        return sim, Finding(
            broken.name,
            broken.title,
            broken.what,
            schedule,
            found_with or schedule,
            tell(sim.recorder.trace, broken),
            scenario.name,
            tuple(sim.events),
        )
    return sim, None
