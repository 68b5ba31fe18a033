"""The panel of a living cluster: a thread that looks ten times a second, and does what is clicked.

A click only puts a wish on a queue: the kernel's own thread may be waiting for a run. How the
cluster is looked at and broken is the business of the `stage`, which the runtime provides.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from labkit import faults
from labkit.chaos import random_plan
from labkit.events import Event
from labkit.faults import Fault
from labkit.views.panel.front import Front, thread
from labkit.views.panel.pace import Pace
from labkit.views.panel.script import Click, Script
from labkit.views.panel.sources import where
from labkit.views.panel.strip import Strip

TICK = 0.1
"""Seconds between two updates."""
KEPT = 30.0
"""Seconds of the past that a view which is opened late is shown."""
SLOWER = 4.0
"""Times as long that a rank computes after a click on slow."""
RESTS = 0.4
"""Seconds after the end of a run until its picture is drawn: unless the next has begun."""
LEAVES = 10.0
"""Seconds that a cluster's end waits for its panel's picture, which takes a tenth of that."""
NOBODY_NOTICES = (
    "No connection closes, so the others wait. With Cluster(silence=1.0) they would do without it."
)
NOTHING = {"text/plain": ""}
"""What is below the panel until a run is over. The page hides the picture there, since the panel
has it too; a page without a kernel shows only what is stored."""
DRAWS = 100
"""Random faults that are looked at until one of them strikes no dead rank."""
AT_ONCE = ("kill", "pause", "slow", "delay", "drop", "cut", "partition")


class Stage(Protocol):
    """A cluster, as its panel needs it. All of it is quick, and may be called from any thread."""

    ranks: tuple[int, ...]  # the witness is the last
    silence: float | None  # seconds that are taken for a death, if any are

    @property
    def closed(self) -> bool: ...
    def listen(self, call: Any) -> None: ...
    def rows(self) -> list[dict[str, Any]]: ...
    def inject(self, fault: Fault) -> None: ...
    def run(self) -> Any: ...


class LivePanel:
    """`cluster.panel()`. Shows itself; `code` is what has been clicked so far, a line a click."""

    def __init__(self, stage: Stage, present: bool = False) -> None:
        self.stage = stage
        self.script, self.pace = Script(), Pace()
        self.began = time.monotonic()
        self.strip = Strip(stage.ranks, self.began)
        self.fresh: deque[list[Event]] = deque()
        self.frames: deque[dict[str, Any]] = deque(maxlen=round(KEPT / TICK))
        self.run: Any = None
        self.picture: bytes | None = None  # of the run, once it is over
        self._timeline: Any = None  # the same, for the notebook
        self._ended: float | None = None  # when the run was seen to be over
        self._shown: list[tuple[Any, Any]] = []  # where the panel stands, and the picture below it
        self._rows: list[dict[str, Any]] = []
        self._dice = 0
        self._wishes: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._woken = threading.Event()
        self._left = False  # the thread is at its end
        lanes = [
            {"id": rank, "name": f"rank {rank}", "witness": False} for rank in stage.ranks[:-1]
        ] + [{"id": stage.ranks[-1], "name": "witness", "witness": True}]
        self.front = Front(mode="live", lanes=lanes, present=present)
        self.front.on_msg(self._hear)
        stage.listen(self.fresh.append)
        self.thread = thread(self._live)
        self.thread.start()

    def __repr__(self) -> str:
        return f"<a panel of {len(self.stage.ranks) - 1} ranks: it needs a notebook to be seen>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        shown = display(self.front, display_id=True)
        below = NOTHING if self._timeline is None else self._timeline
        kept = display(below, raw=below is NOTHING, display_id=True)
        self._shown.append((shown, kept))

    @property
    def code(self) -> str:
        return self.script.lines()

    def leave(self) -> None:
        """Waits until the picture of the last run has taken its place; the cluster is closed."""
        self._woken.set()
        if threading.current_thread() is not self.thread:
            self.thread.join(LEAVES)

    # -- the thread

    def _live(self) -> None:
        due = time.monotonic()
        while not self.stage.closed:
            begin = time.monotonic()
            if begin >= due:  # else it was woken by a click
                due = max(due + TICK, begin)  # when one is late, the next is not
            self._act()
            self.tick(begin)
            self._woken.wait(max(0.0, due - time.monotonic()))
            self._woken.clear()
        self.tick(time.monotonic())
        self._leave_picture()
        self._left = True
        self._act()

    def tick(self, now: float) -> None:
        """Tells the browser what is new."""
        # First what there is: to follow takes a while when a picture is drawn, and the steps of the
        # next run shall not come before its name.
        events = [
            e for batch in [self.fresh.popleft() for _ in range(len(self.fresh))] for e in batch
        ]
        began = self._follow(now)
        for event in events:
            self.strip.take(event)
            if self.run is not None and event.time >= self.run.started:
                self.pace.take(event)
        frame = self.strip.news(now) | began
        goodput, recent = self.pace.goodput(now), self.pace.goodput(now, seconds=2.0)
        if goodput is not None and self.picture is None:
            frame["goodput"] = [round(goodput, 3), None if recent is None else round(recent, 3)]
        rows = self.stage.rows()
        if rows != self._rows:
            frame["rows"], self._rows = rows, rows
        self.frames.append(frame)
        self.front.send({"kind": "frame", "frame": frame})

    def _follow(self, now: float) -> dict[str, Any]:
        """Notices when a run begins, and when it is over: what the browser is told of that."""
        run = self.stage.run()
        if run is not self.run:
            self.run, self.picture, self._ended, self.pace = run, None, None, Pace()
            return {"run": self._title()}
        if run is not None and run.done and self.picture is None:
            self._ended = self._ended or now
            if now - self._ended > RESTS:
                self._draw(run)
        return {}

    def _title(self) -> dict[str, Any]:
        return {"number": self.run.number, "name": self.run.name}

    def _draw(self, run: Any) -> None:
        """In the panel, and beside it, where it is kept with the notebook."""
        self.picture = b""  # one try
        try:
            self._timeline = run.timeline()
            self.picture = self._timeline.png()
        except Exception as error:  # the panel goes on without it
            self._say(f"the picture of run {run.number} could not be drawn: {error}")
            return
        self._send_picture()
        for _, kept in self._shown:
            kept.update(self._timeline)

    def _send_picture(self, **whom: Any) -> None:
        if self.picture:
            self.front.send({"kind": "picture", **whom}, [self.picture])

    def _leave_picture(self) -> None:
        """The cluster is closed: in the notebook the picture of the last run takes this place."""
        self.front.send({"kind": "closed"})
        if self.run is None or not self._shown:
            return
        try:
            timeline = self.run.timeline()
        except Exception as error:
            self._say(f"the picture of run {self.run.number} could not be drawn: {error}")
            return
        for shown, kept in self._shown:
            shown.update(timeline)
            kept.update(NOTHING, raw=True)

    # -- what is clicked

    def _hear(self, _: Any, wish: dict[str, Any], buffers: Any) -> None:
        self._wishes.put(wish)
        self._woken.set()
        if self._left:
            self._act()

    def _act(self) -> None:
        while True:
            try:
                wish = self._wishes.get_nowait()
            except Empty:
                return
            try:
                self._do(wish)
            except Exception as error:
                self._say(str(error))

    def _do(self, wish: dict[str, Any]) -> None:
        match wish["kind"]:
            case "hello":
                self._catch_up(wish.get("view"))
            case "event":
                event = self.strip.events.get(wish["id"])
                self._say("that was too long ago" if event is None else where(event))
            case "random":
                self.inject(self._any_fault())
            case "heal":
                self.inject(faults.Heal())
            case act:
                self.inject(self._fault(act, wish["rank"]))

    def _any_fault(self) -> Fault:
        """One that strikes the living only, and another one each time."""
        dead = {row["rank"] for row in self._rows if not row["alive"]}
        for _ in range(DRAWS):
            self._dice += 1
            plan = random_plan(self._dice, len(self.stage.ranks) - 1, 1.0, 1, AT_ONCE)
            fault = plan.entries[0].fault
            if dead.isdisjoint(faults.describe(fault)["ranks"]):
                return fault
        raise RuntimeError("hardly anybody is left to strike: restart a rank first")

    def _fault(self, act: str, rank: int) -> Fault:
        others = tuple(other for other in self.stage.ranks if other != rank)
        table: dict[str, Fault] = {
            "kill": faults.Kill(rank),
            "pause": faults.Pause(rank),
            "resume": faults.Resume(rank),
            "slow": faults.Slow(rank, SLOWER),
            "full speed": faults.Slow(rank, 1.0),
            "cut off": faults.Partition(((rank,), others)),
            "restart": faults.Restart(rank),
        }
        return table[act]

    def inject(self, fault: Fault) -> None:
        """As if it had been clicked."""
        run, moment = self.run, time.monotonic()
        click = Click(fault, "between runs")
        if run is not None and not run.done:
            where = f"run {run.number}, step {max(run.steps.values(), default=0)}"
            click = Click(fault, where, run, moment - run.started)
        self.stage.inject(fault)
        self.script.clicks.append(click)
        self._send_code()
        stands = isinstance(fault, faults.Pause) and fault.seconds is None
        silent = stands or isinstance(fault, faults.Partition)
        self._say(NOBODY_NOTICES if silent and self.stage.silence is None else "")

    def _catch_up(self, view: Any) -> None:
        """A view has been opened, or the page has been loaded again; the others know all that."""
        past: dict[str, Any] = {"frames": list(self.frames), "rows": self._rows}
        if self.run is not None:
            past["run"] = self._title()
        self.front.send({"kind": "frames", "view": view, **past})
        self._send_code()
        self._send_picture(view=view)
        if self._left:
            self.front.send({"kind": "closed", "view": view})

    def _send_code(self) -> None:
        lines, plan = self.script.lines(), self.script.plan()
        self.front.send({"kind": "code", "code": lines, "plan": plan})

    def _say(self, text: str) -> None:
        self.front.send({"kind": "said", "text": text})
