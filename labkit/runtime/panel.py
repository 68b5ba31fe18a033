"""A cluster as its live panel sees and breaks it: `cluster.panel()`."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from labkit.events import Event
from labkit.faults import Fault, Slow
from labkit.runtime.driver import Driver
from labkit.runtime.inject import inject
from labkit.runtime.messages import Ping
from labkit.runtime.run import Run
from labkit.runtime.seat import Seat
from labkit.runtime.status import gpu_memory_mb, memory_mb

PING = 0.25
"""Seconds after which the ranks are asked for a sign of life, and one of them for its memory."""
GPU = 2.0
"""Seconds after which `nvidia-smi` is asked again: it takes a tenth of one."""


class ClusterStage:
    """What a panel needs of `driver`; see `labkit.views.panel.live.Stage`. It keeps no reference to
    the `Cluster`, which may go while its panel is on the page."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.ranks = tuple(driver.seats)
        self.silence = driver.silence
        self._pinged = self._asked = 0.0
        self._memory: dict[int, float | None] = {}
        self._gpu: dict[int, float] = {}
        self.gpus = threading.Thread()  # waits for the last answer
        self._turn = itertools.cycle(self.ranks)

    @property
    def closed(self) -> bool:
        return self.driver.closed

    def listen(self, call: Callable[[list[Event]], None]) -> None:
        """`call` gets all events from now on, in the thread that hears of them."""
        self.driver.listeners.append(call)

    def run(self) -> Run | None:
        return self.driver.run

    def inject(self, fault: Fault) -> None:
        if self.driver.closed:
            raise RuntimeError("this cluster is closed: make a new one, Cluster(...)")
        inject(self.driver, fault)

    def rows(self) -> list[dict[str, Any]]:
        """One row a rank, as plain data; what costs more is asked for one rank at a time."""
        now = time.monotonic()
        driver = self.driver
        if now - self._pinged > PING and not driver.closed:
            self._pinged = now
            driver.loop.call_soon(driver.broadcast, Ping())
            self._look_at_memory(now)
        with driver.changed:
            slow = {f.rank: f.factor for f in driver.in_force if isinstance(f, Slow)}
            return [self._row(seat, now, slow) for seat in driver.seats.values()]

    def _look_at_memory(self, now: float) -> None:
        seat = self.driver.seats[next(self._turn)]
        here = seat.state != "dead" and self.driver.launcher.here(seat.host)
        self._memory[seat.rank] = memory_mb(seat.pid) if here and seat.pid else None
        homes = self.driver.placement.ranks
        if now - self._asked > GPU and any(home.device != "cpu" for home in homes):
            self._asked = now
            self.gpus = threading.Thread(target=self._look_at_gpus, daemon=True)
            self.gpus.start()

    def _look_at_gpus(self) -> None:
        self._gpu = gpu_memory_mb()

    def _row(self, seat: Seat, now: float, slow: dict[int, float]) -> dict[str, Any]:
        alive = seat.state != "dead"
        here = self.driver.launcher.here(seat.host)
        memory, gpu = self._memory.get(seat.rank), self._gpu.get(seat.pid or 0) if here else None
        state = seat.state if alive or seat.died is None else str(seat.died.signal or "ended")
        return {
            "rank": seat.rank,
            "state": "restarting" if seat.replaced and alive else state,
            "alive": alive,
            "step": seat.step,
            "view": seat.view.number or None,
            "term": seat.term if alive else None,
            "leader": seat.leader if alive else None,
            "age": round(now - seat.heard, 1) if alive and seat.heard else None,
            "memory": None if memory is None or not alive else round(memory),
            "gpu": None if gpu is None else round(gpu),
            "slow": slow.get(seat.rank, 1.0) > 1.0,
            "life": seat.life,
        }
