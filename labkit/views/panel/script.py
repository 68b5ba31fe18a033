"""Clicks as code: every click is a line that does the same, and those of a run are a plan that
strikes at the same moments of a new one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import labkit
from labkit import faults
from labkit.faults import At, Fault, FaultPlan

VERBS = {
    faults.Kill: "kill",
    faults.Pause: "pause",
    faults.Resume: "resume",
    faults.Restart: "restart",
    faults.Slow: "slow",
    faults.Cut: "cut",
    faults.Delay: "delay",
    faults.Drop: "drop",
    faults.Heal: "heal",
}


def line(fault: Fault, subject: str = "cluster") -> str:
    """`cluster.kill(2)`; a simulation has one verb for all."""
    if subject != "cluster":
        return f"{subject}.inject({fault})"
    if isinstance(fault, faults.Partition):
        return f"cluster.partition({', '.join(str(list(group)) for group in fault.groups)})"
    if type(fault) not in VERBS:
        return f"cluster.inject({fault})"
    values = [getattr(fault, name) for name in fault.__struct_fields__]
    return f"cluster.{VERBS[type(fault)]}({', '.join(repr(v) for v in values if v is not None)})"


class Started(Protocol):
    """A run: its number, the call that starts one like it with `faults=plan`, and its own plan."""

    number: int
    call: str
    plan: FaultPlan


@dataclass(frozen=True)
class Click:
    """Of a run so many `seconds` after it began; `where` says in words how far that was."""

    fault: Fault
    where: str
    run: Started | None = None
    seconds: float = 0.0


@dataclass
class Script:
    """What has been clicked so far."""

    clicks: list[Click] = field(default_factory=list)

    def lines(self) -> str:
        """One a click, which does the same at once."""
        lines = [line(click.fault) for click in self.clicks]
        width = max(map(len, lines), default=0)
        said = zip(lines, self.clicks, strict=True)
        return "\n".join(f"{text:{width}}  # {click.where}" for text, click in said)

    def plan(self) -> str:
        """The clicks of the last run that was clicked in, as a plan for a new one, which is started
        with it; "" where there is none."""
        run = next((click.run for click in reversed(self.clicks) if click.run), None)
        if run is None:
            return ""
        clicks = [click for click in self.clicks if click.run is run]
        entries = [*run.plan.entries, *(At(c.fault, seconds=round(c.seconds, 2)) for c in clicks)]
        names = {"At", "FaultPlan", *(type(entry.fault).__name__ for entry in entries)}
        home = "labkit" if names <= set(labkit.__all__) else "labkit.faults"
        said = [f"from {home} import {', '.join(sorted(names))}", "", "plan = FaultPlan("]
        said += [f"    {_spelled(entry)}," for entry in entries] + [")", run.call]
        return "\n".join(said)


def _spelled(entry: At) -> str:
    """Without what is not said."""
    whens = ((name, getattr(entry, name)) for name in entry.__struct_fields__[1:])
    plain = {"count": 1}
    said = [f"{name}={value!r}" for name, value in whens if value not in (None, plain.get(name))]
    return f"At({', '.join([str(entry.fault), *said])})"
