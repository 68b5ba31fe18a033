"""The panel of a simulation: play, step, back, and every message in the reader's hands.

To go back, a simulation is made anew and led the same way, one step less: its seed decides all that
the reader does not. So the clicks are a script that anybody can run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sized
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from labkit import faults
from labkit.views.panel.front import Front, thread
from labkit.views.panel.live import SLOWER, TICK
from labkit.views.panel.sources import where
from labkit.views.panel.strip import Strip

WIDTH = 0.005
"""Seconds of virtual time of a bin."""
SHOWN = 24
"""Messages on their way that are drawn."""

Click = tuple[int, str, tuple[Any, ...]]
"""After how many steps, which method of the simulation, with what."""


class SimulatedPanel:
    """`make()` gives the simulation at its beginning, and so does the code `begin`. `sim` is where
    it has come to, `code` how."""

    def __init__(self, make: Callable[[], Any], present: bool = False, begin: str = "") -> None:
        self.make, self.begin = make, begin
        self.clicks: list[Click] = []
        self.playing, self.speed = False, 0.1
        self.wishes: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._woken = threading.Event()
        self._ended = False
        self._begin()
        self.ranks = tuple(self.sim.nodes)
        lanes = [
            {"id": i, "name": f"{'node' if i < self.sim.n else 'client'} {i}", "witness": False}
            for i in self.ranks
        ]
        self.front = Front(mode="simulated", lanes=lanes, present=present, window=0.2)
        self.front.on_msg(self._hear)
        self.thread = thread(self._live)
        self.thread.start()

    def __repr__(self) -> str:
        return f"<a panel of {len(self.ranks)} nodes: it needs a notebook to be seen>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.front)

    def close(self) -> None:
        """Ends its thread; `sim` stays as it is."""
        self._ended = True
        self._woken.set()
        self.thread.join()

    @property
    def code(self) -> str:
        """A simulation that is led to the same place."""
        if not self.steps and not self.clicks:
            return ""
        faulty = {type(v).__name__ for _, _, values in self.clicks for v in values if is_fault(v)}
        lines = [f"from labkit.faults import {', '.join(sorted(faulty))}"] if faulty else []
        lines, before = lines + ([self.begin] if self.begin else []), 0
        for steps, method, values in [*self.clicks, (self.steps, "", ())]:
            if steps > before:
                lines.append(f"sim.advance({steps - before})")
            if method:
                lines.append(f"sim.{method}({', '.join(map(str, values))})")
            before = steps
        return "\n".join(lines)

    # -- the simulation

    def _begin(self) -> None:
        self.sim, self.steps, self.clock, self.told = self.make(), 0, 0.0, 0
        self.strip = Strip(self.sim.nodes, 0.0, WIDTH)

    def step(self) -> bool:
        """False when nothing is left to happen."""
        went = self.sim.advance()
        self.steps += went
        self.clock = max(self.clock, self.sim.now)
        return bool(went)

    def back(self) -> None:
        """The same way once more, without its last step and what was clicked after that."""
        aim = self.steps - 1
        if aim < 0:
            return
        self.clicks = [click for click in self.clicks if click[0] <= aim]
        self._begin()
        for steps, method, values in self.clicks:
            self.sim.advance(steps - self.steps)
            self.steps = steps
            getattr(self.sim, method)(*values)
        self.sim.advance(aim - self.steps)
        self.steps, self.clock = aim, self.sim.now
        self.front.send({"kind": "reset"})

    def click(self, method: str, *values: Any) -> None:
        """Does something to the simulation, and remembers when."""
        getattr(self.sim, method)(*values)
        self.clicks.append((self.steps, method, values))

    # -- the thread

    def _live(self) -> None:
        self.tick()
        while not self._ended:
            self._woken.wait(TICK if self.playing else None)
            self._woken.clear()
            began = time.monotonic()
            try:
                self._act()
                if self.playing:
                    self._play(began)
            except Exception as error:  # an invariant that does not hold, mostly
                self.playing = False
                self.front.send({"kind": "said", "text": f"{type(error).__name__}: {error}"})
            self.tick()

    def _play(self, began: float) -> None:
        """A tick's share of virtual time, or as much of it as a tick has room for."""
        end = self.clock + TICK * self.speed
        while (due := self.sim.due()) is not None and due <= end:
            self.step()
            if time.monotonic() > began + TICK / 2:
                end = self.clock
        self.clock = end
        if self.sim.due() is None:
            self.playing = False

    def tick(self) -> None:
        """Tells the browser what is new."""
        events = self.sim.events
        for event in events[self.told :]:
            self.strip.take(event)
        self.told = len(events)
        # What ranks do is known as far as the simulation has come, though the clock runs on.
        frame = self.strip.news(self.sim.now, late=0.0)
        frame["now"] = round(self.clock - self.strip.begin, 4)
        frame["width"] = WIDTH
        frame["rows"] = [self._row(i) for i in self.ranks]
        frame["flying"], lost = self._flying()
        if lost:
            frame["lost"] = lost
        frame["playing"] = self.playing
        frame["taken"] = self.steps
        self.front.send({"kind": "frame", "frame": frame})
        self.front.send({"kind": "code", "code": self.code})

    def _row(self, i: int) -> dict[str, Any]:
        machine, life = self.sim.node(i), self.sim.life(i)
        alive = machine is not None
        state = "ready" if self.sim.running(i) else "paused" if alive else "dead"
        log = getattr(machine, "log", None)
        return {
            "rank": i,
            "state": "starting" if life < 0 else state,
            "alive": alive,
            "role": getattr(machine, "role", None)
            or ("leader" if alive and machine.leads else None),
            "term": getattr(machine, "term", None),
            "leader": getattr(machine, "leader", None),
            "holds": _entries(len(log)) if isinstance(log, Sized) else None,
            "slow": self.sim.links.slow.get(i, 1.0) > 1.0,
            "life": life,
        }

    def _flying(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """The messages on their way, with when they were sent; and those that got lost since."""
        on_the_way = self.sim.flying()
        sent = self.strip.in_flight()
        found, seen = [], set()
        for each in on_the_way:
            name = type(each.message).__name__
            for identity, (source, target, begin, event) in sent.items():
                same = source == each.source and target == each.target and event.name == name
                if same and identity not in seen:
                    seen.add(identity)
                    text = str(each.message)
                    found.append([each.number, source, target, begin, each.due, name, text])
                    break
        lost = []
        for identity, (source, target, begin, event) in sent.items():
            waits = self.sim.alive(target) and not self.sim.running(target)  # until it goes on
            if identity not in seen and not waits:
                self.strip.forget(identity)
                lost.append([self.strip.remember(event), source, target, begin, event.name])
        return found[:SHOWN], lost

    # -- what is clicked

    def _hear(self, _: Any, wish: dict[str, Any], buffers: Any) -> None:
        self.wishes.put(wish)
        self._woken.set()

    def _act(self) -> None:
        with suppress(Empty):
            while True:
                self._do(self.wishes.get_nowait())

    def _do(self, wish: dict[str, Any]) -> None:
        match wish["kind"]:
            case "hello":
                self.strip, self.told = Strip(self.ranks, 0.0, WIDTH), 0
                self.front.send({"kind": "reset"})
            case "play":
                self.playing = not self.playing
            case "step":
                self.playing = False
                self.step()
            case "back":
                self.playing = False
                self.back()
            case "speed":
                self.speed = float(wish["speed"])
            case "deliver" | "drop":
                self.click(wish["kind"], wish["number"])
            case "event":
                event = self.strip.events.get(wish["id"])
                text = "that was too long ago" if event is None else where(event, simulated=True)
                self.front.send({"kind": "said", "text": text})
            case "heal":
                self.click("heal")
            case act:
                self.click("inject", self._fault(act, wish["rank"]))

    def _fault(self, act: str, rank: int) -> faults.Fault:
        others = tuple(other for other in self.ranks if other != rank)
        table: dict[str, faults.Fault] = {
            "kill": faults.Kill(rank),
            "pause": faults.Pause(rank),
            "resume": faults.Resume(rank),
            "slow": faults.Slow(rank, SLOWER),
            "full speed": faults.Slow(rank, 1.0),
            "cut off": faults.Partition(((rank,), others)),
            "restart": faults.Restart(rank),
        }
        return table[act]


def is_fault(value: Any) -> bool:
    return isinstance(value, faults.Fault)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
