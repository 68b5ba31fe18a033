"""How long a recovery took, and its phases: notice, agree, form, redo.

Each phase ends with the last rank to get there: notice with the last survivor that recorded `lost`,
agree with the last that installed the `view`, form with the last end of a slice "forming group",
redo with the last member's first `step`. What is not in the events is left out.

A restart has other phases: start (until the new process says its first word), ready (until it asks
to be let in), agree, form, restore (until the last rank has the state) and step.
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
    views_at = [v.time for v in views]
    formed = _ends(past, "forming group", fault)
    first_step = [] if done is None else [done]
    if fault.kind == "Restart":
        times = {
            **_birth(past, fault),
            "agree": views_at,
            "form": formed,
            "restore": _ends(past, "restoring", fault),
            "step": first_step,
        }
    else:
        noticed = [m.time for m in past.marks["lost"]]
        times = {"notice": noticed, "agree": views_at, "form": formed, "redo": first_step}
    phases: list[Phase] = []
    begin = fault.begin
    for name, ends in times.items():
        end = max((t for t in ends if t <= until), default=begin)
        if end > begin and (phases or name != "redo"):  # nothing is done again that was not broken
            phases.append(Phase(name, begin, end))
            begin = end
    return Recovery(fault.begin, done, phases, views[-1].data.get("number") if views else None)


def _ends(past: History, activity: str, fault: Injected) -> list[float]:
    """When the slices of this activity ended that began after the fault."""
    every = (s for some in past.slices.values() for s in some)
    return [s.end for s in every if s.activity == activity and s.begin > fault.begin]


def _birth(past: History, fault: Injected) -> dict[str, list[float]]:
    """The first word of the new process, and when it asked to be let in."""
    rank = fault.ranks[0]
    born = [begin for begin, _ in past.lives.get(rank, []) if begin > fault.begin][:1]
    asks = [s.begin for s in past.slices.get(rank, []) if s.activity == "agreeing"]
    return {"start": born, "ready": [t for t in sorted(asks) if born and t > born[0]][:1]}


def _back_to_work(past: History, fault: Injected) -> float | None:
    """When the last living member took its first step since the fault and since its view."""
    in_views = not past.witnesses.intersection(fault.ranks)
    needs_view = fault.kind in ("Kill", "Restart") and in_views and bool(past.views)
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
