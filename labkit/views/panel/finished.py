"""The panel of a run that is over: its diagram, a slider, and who knew what at that time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.events import Event
from labkit.views.panel.front import Front
from labkit.views.panel.knowledge import known_at
from labkit.views.panel.sources import where
from labkit.views.panel.strip import Strip

BINS = 500
"""Of the whole run."""
ARROWS = 600


class FinishedPanel:
    """`run.panel()`. All is told at once; afterwards the kernel only answers."""

    def __init__(
        self,
        events: Sequence[Event],
        title: str = "",
        present: bool = False,
        view: int | None = None,
        members: Sequence[int] = (),
    ) -> None:
        self.view, self.members = view, tuple(members)  # in which the run began
        self.events = sorted(events, key=lambda e: (e.time, e.clock))
        if not self.events:
            raise ValueError("this run has no events: there is nothing to look at")
        self.begin, end = self.events[0].time, self.events[-1].time
        self.seconds = max(end - self.begin, 1e-3)
        ranks = sorted({e.rank for e in self.events if e.rank >= 0} | self._members())
        witnesses = {e.rank for e in self.events if e.kind == "start" and e.name == "witness"}
        self.strip = Strip(ranks, self.begin, self.seconds / BINS, ARROWS)
        for event in self.events:
            self.strip.take(event)
        self.frame = self.strip.news(end, late=0.0)
        self.frame |= {"width": self.seconds / BINS, "range": [0.0, self.seconds]}
        self.frame["steps"] = [
            [e.rank, round(e.time - self.begin, 4), e.data["step"]]
            for e in self.events
            if e.kind == "step"
        ]
        lanes = [
            {
                "id": r,
                "name": "witness" if r in witnesses else f"rank {r}",
                "witness": r in witnesses,
            }
            for r in ranks
        ]
        self.front = Front(mode="finished", title=title, lanes=lanes, present=present)
        self.front.on_msg(self._hear)

    def _members(self) -> set[int]:
        return {m for e in self.events if e.kind == "view" for m in e.data["members"]}

    def __repr__(self) -> str:
        return f"<a panel of {self.seconds:.1f} s: it needs a notebook to be seen>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.front)

    def at(self, seconds: float) -> list[dict[str, Any]]:
        """Who knows what, so many seconds after the run's first event."""
        return known_at(self.events, self.begin + seconds, self.view, self.members)

    def _hear(self, _: Any, wish: dict[str, Any], buffers: Any) -> None:
        match wish["kind"]:
            case "hello":
                self.front.send({"kind": "frame", "frame": self.frame, "view": wish.get("view")})
                self.front.send({"kind": "knowledge", "t": 0.0, "rows": self.at(0.0)})
            case "at":
                t = float(wish["t"])
                self.front.send({"kind": "knowledge", "t": t, "rows": self.at(t)})
            case "event":
                event = self.strip.events.get(wish["id"])
                text = "that event is not kept" if event is None else where(event)
                self.front.send({"kind": "said", "text": text})
