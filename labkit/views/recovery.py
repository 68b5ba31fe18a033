"""How long a recovery took, and its phases: notice, agree, form, redo.

Each phase ends with the last rank to get there: notice with the last survivor that recorded `lost`,
agree with the last that installed the `view`, form with the last end of a slice "forming group",
redo with the last member's first `step`. What is not in the events is left out. A restart has
"start" in place of notice: until the new process says its first word.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.views.history import History
from labkit.views.injected import Injected


@dataclass(frozen=True)
class Phase:
    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Recovery:
    """Seconds since the run's first event. `done` is None if the run never went on."""

    begin: float
    done: float | None
    phases: list[Phase]
    view: int | None

    @property
    def seconds(self) -> float | None:
        return None if self.done is None else self.done - self.begin


def recovery(past: History, fault: Injected) -> Recovery:
    """From `fault` until every member of the view has taken a step again."""
    done = _back_to_work(past, fault)
    until = past.end if done is None else done
    views = [v for v in past.views if fault.begin < v.time <= until]
    times: dict[str, list[float]] = {
        "notice": [m.time for m in past.marks["lost"]],
        "start": [],
        "agree": [v.time for v in views],
        "form": [
            s.end
            for some in past.slices.values()
            for s in some
            if s.activity == "forming group" and s.begin > fault.begin
        ],
        "redo": [] if done is None else [done],
    }
    if fault.kind == "Restart":
        births = [begin for begin, _ in past.lives.get(fault.ranks[0], [])]
        times["notice"], times["start"] = (
            [],
            [min([b for b in births if b > fault.begin], default=0)],
        )
    phases: list[Phase] = []
    begin = fault.begin
    for name, ends in times.items():
        end = max((t for t in ends if t <= until), default=begin)
        if end > begin and (phases or name != "redo"):  # nothing is done again that was not broken
            phases.append(Phase(name, begin, end))
            begin = end
    return Recovery(fault.begin, done, phases, views[-1].data.get("number") if views else None)


def _back_to_work(past: History, fault: Injected) -> float | None:
    """When the last living member took its first step since the fault and since its view."""
    needs_view = fault.kind in ("Kill", "Restart") and bool(past.views)
    since: set[int] = set() if needs_view else set(past.trainers)
    stepped: set[int] = set()
    marks = [(v.time, v.rank, "view") for v in past.views if v.time > fault.end]
    marks += [(s.time, s.rank, "step") for s in past.steps if s.time > fault.end]
    for time, rank, kind in sorted(marks):
        if kind == "view":
            since.add(rank)
            stepped.discard(rank)
        elif rank in since:
            stepped.add(rank)
            if stepped >= _working(past, time):
                return time
    return None


def _working(past: History, time: float) -> set[int]:
    """The members of the newest view that have a process at `time`."""
    views = [v for v in past.views if v.time <= time]
    members = set(views[-1].data.get("members", past.ranks)) if views else set(past.ranks)
    return {r for r in members & set(past.trainers) if _alive(past, r, time)}


def _alive(past: History, rank: int, time: float) -> bool:
    died = {d.time for d in past.deaths if d.rank == rank}
    return any(a <= time and (time < b or b not in died) for a, b in past.lives[rank])
