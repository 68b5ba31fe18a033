"""Waiting that can be left at any moment: look, give way, look again.

A rank that waits inside a library's blocking call cannot leave when its peer dies; one that polls
can. To keep polling cheap the processor is handed over between two looks, and a wait that lasts is
slept through: a paused peer must not keep the cores of the others busy.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

from labkit.collectives.link import Abandoned, Link

# os.sched_yield keeps the GIL until Python 3.13 and would starve this process's other threads; a
# foreign function called through ctypes lets go of it.
give_way = ctypes.CDLL(None).sched_yield

SPIN = 0.005  # seconds of giving way before the first nap; ranks in step are done by then
NAP = 0.0002  # seconds; by so much at most a wait that lasted longer than SPIN ends late


def poll(link: Link, done: Callable[[], bool], deadline: float | None = None) -> None:
    """Returns once `done()`. Raises Abandoned when the link is abandoned, or after `deadline`
    seconds; time in which this process itself stood still does not count."""
    waited, looks, last = 0.0, 0, 0.0
    while not done():
        link.check()
        give_way()
        looks += 1
        if looks % 16 and waited < SPIN:
            continue
        now = time.monotonic()
        waited += min(now - last, 0.1) if last else 0.0
        last = now
        if deadline is not None and waited > deadline:
            who = f"rank {link.members[link.rank]}"
            raise Abandoned(f"{who} heard nothing from a peer for {deadline:g} s: form a new group")
        if waited > SPIN:
            time.sleep(NAP)
