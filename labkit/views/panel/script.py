"""Clicks as code: every click is a line that does the same, and all of them are a fault plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit import faults
from labkit.faults import Fault

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


@dataclass
class Script:
    """`clicks` are a fault, the seconds since the run began, and how far the run was, in words."""

    subject: str = "cluster"
    clicks: list[tuple[Fault, float | None, str]] = field(default_factory=list)

    def add(self, fault: Fault, seconds: float | None, where: str) -> None:
        self.clicks.append((fault, seconds, where))

    def code(self) -> str:
        """The lines to paste, and below them the plan that strikes by itself."""
        lines = [line(fault, self.subject) for fault, _, _ in self.clicks]
        width = max(map(len, lines), default=0)
        said = [
            f"{text:{width}}  # {where}" if where else text
            for text, (_, _, where) in zip(lines, self.clicks, strict=True)
        ]
        timed = [(fault, t) for fault, t, _ in self.clicks if t is not None]
        if timed:
            names = {"At", "FaultPlan", *(type(fault).__name__ for fault, _ in timed)}
            said += ["", f"from labkit import {', '.join(sorted(names))}", "plan = FaultPlan("]
            said += [f"    At({fault}, seconds={t:.2f})," for fault, t in timed] + [")"]
        return "\n".join(said)
