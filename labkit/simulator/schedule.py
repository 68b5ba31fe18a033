"""A schedule: everything that goes wrong in one simulation, as plain data that can be kept.

`swarm` draws one from a seed. First it draws which kinds of faults this seed has at all and how
often they come (swarm testing: A. Groce et al., ISSTA 2012): schedules in which everything happens
a little find less than schedules in which a few things happen a lot.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec import Struct

from labkit import faults
from labkit.faults import LEADER, At, Fault
from labkit.simulator.network import Network


class Schedule(Struct, frozen=True, omit_defaults=True):
    """`plan` strikes in the first `seconds`; then everything heals. Its repr makes it again."""

    seed: int
    n: int = 3
    plan: tuple[At, ...] = ()
    network: Network = Network()
    seconds: float = 20.0

    def __repr__(self) -> str:
        parts = [f"seed={self.seed}", f"n={self.n}"]
        if self.plan:
            parts.append(f"plan=({''.join(_said(entry) + ', ' for entry in self.plan)[:-1]})")
        if self.network != Network():
            parts.append(f"network={self.network!r}")
        return f"Schedule({', '.join(parts)}, seconds={self.seconds:g})"


def _said(entry: At) -> str:
    fault = str(entry.fault).replace(f"={LEADER}", "=LEADER").replace(f"({LEADER},", "(LEADER,")
    return f"At({fault}, seconds={entry.seconds!r})"


Kind = Callable[[random.Random, int], list[tuple[float, Fault]]]
"""Draws one occurrence for n nodes: faults, and how many seconds after its beginning they come."""


def _someone(draw: random.Random, n: int) -> int:
    """Any rank; the one that leads more often than its share."""
    return LEADER if draw.random() < 0.4 else draw.randrange(n)


def _back(draw: random.Random) -> float:
    """How long a fault lasts: mostly about an election, sometimes much longer."""
    return draw.uniform(0.05, 0.6) if draw.random() < 0.7 else draw.uniform(0.6, 5.0)


def _crash(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    rank = draw.randrange(n)  # the one to come back must be known now, and so is the one to die
    return [(0.0, faults.Kill(rank)), (_back(draw), faults.Restart(rank))]


def _crash_leader(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    return [(0.0, faults.Kill(LEADER)), *_revive(draw, n)]


def _crash_inside(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    fault = faults.CrashAt(_someone(draw, n), draw.randrange(5))
    return [(0.0, fault), *_revive(draw, n)]


def _revive(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    """All the dead come back (`Revive`), since nobody knows yet who will have died."""
    return [(_back(draw), faults.Revive())]


def _pause(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    return [(0.0, faults.Pause(_someone(draw, n), round(_back(draw), 3)))]


def _isolate(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    groups = ((_someone(draw, n),), tuple(range(n)))
    return [(0.0, faults.Partition(groups)), (_back(draw), faults.Heal())]


def _split(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    order = draw.sample(range(n), n)
    cut = draw.randrange(1, n)
    groups = tuple(sorted(order[:cut])), tuple(sorted(order[cut:]))
    return [(0.0, faults.Partition(groups)), (_back(draw), faults.Heal())]


def _cut(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    """One way only, from or to one node, for some of the others."""
    one, outward = _someone(draw, n), draw.random() < 0.5
    others = [i for i in range(n) if draw.random() < 0.8]
    pairs = [(one, i) if outward else (i, one) for i in others if i != one]
    return [*((0.0, faults.Cut(*pair)) for pair in pairs), (_back(draw), faults.Heal())]


def _drift(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    return [(0.0, faults.Drift(draw.randrange(n), round(draw.uniform(0.8, 1.25), 3)))]


def _slow(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    slow = faults.Slow(draw.randrange(n), round(draw.uniform(3, 30), 1))
    return [(0.0, slow), (_back(draw), faults.Heal())]


def _disk(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    return [(0.0, faults.DiskError(_someone(draw, n))), *_revive(draw, n)]


def _wipe(draw: random.Random, n: int) -> list[tuple[float, Fault]]:
    """Always the same node: what a majority has lost no protocol brings back."""
    return [(0.0, faults.WipeDisk(0)), (_back(draw), faults.Restart(0))]


KINDS: dict[str, Kind] = {
    "crash": _crash,
    "crash leader": _crash_leader,
    "crash inside": _crash_inside,
    "pause": _pause,
    "isolate": _isolate,
    "split": _split,
    "cut": _cut,
    "drift": _drift,
    "slow": _slow,
    "disk": _disk,
    "wipe": _wipe,
}
KEPT_DISKS = tuple(kind for kind in KINDS if kind != "wipe")
"""For protocols that promise nothing to who has lost its disk."""


def swarm(
    seed: int,
    sizes: tuple[int, ...] = (3, 4, 5),
    kinds: tuple[str, ...] = tuple(KINDS),
    seconds: float = 20.0,
) -> Schedule:
    """The schedule of a seed: n from `sizes`, some of the `kinds` of faults, some kind of network.

    Faults come `gap` apart on average, which is itself drawn, from 0.15 s to 3 s.
    """
    draw = random.Random(f"swarm/{seed}")
    n = draw.choice(sizes)
    chosen = [kind for kind in kinds if draw.random() < 0.4] or [draw.choice(kinds)]
    gap = 0.15 * 20 ** draw.random()
    plan: list[At] = []
    time = draw.expovariate(1 / gap)
    while time < seconds:
        for after, fault in KINDS[draw.choice(chosen)](draw, n):
            plan.append(At(fault, seconds=round(time + after, 4)))
        time += draw.expovariate(1 / gap)
    plan = sorted((x for x in plan if _when(x) < seconds), key=_when)
    return Schedule(seed, n, tuple(plan), _network(draw), seconds)


def _network(draw: random.Random) -> Network:
    def sometimes(most: float) -> float:
        return round(draw.uniform(0, most), 3) if draw.random() < 0.5 else 0.0

    return Network(
        high=round(draw.choice((0.002, 0.005, 0.02, 0.06)), 4),
        loss=sometimes(0.3),
        duplicate=sometimes(0.3),
        tail=sometimes(0.1),
        tail_seconds=round(draw.uniform(0.1, 2.0), 3),
    )


def _when(entry: At) -> float:
    assert entry.seconds is not None  # the clock decides everything in a simulation
    return entry.seconds
