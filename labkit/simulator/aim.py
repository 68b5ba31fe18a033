"""Faults and whom they strike: those that name no rank but whoever leads, and those that cannot
strike at all."""

from __future__ import annotations

from itertools import chain
from typing import Any, get_args

import msgspec

from labkit.faults import LEADER, At, Fault, NeedsHosts, Partition, RealOnly


def aim(fault: Fault, leader: int | None) -> Fault | None:
    """The fault with the leader's rank in it; None when it needs one and nobody leads."""
    if isinstance(fault, Partition):
        return _partition(fault, leader)
    changes = {f: leader for f in fault.__struct_fields__ if getattr(fault, f) == LEADER}
    if not changes:
        return fault
    return None if leader is None else msgspec.structs.replace(fault, **changes)


def _partition(fault: Partition, leader: int | None) -> Fault | None:
    """A rank that stands in two groups belongs to the first: `((LEADER,), (0, 1, 2))`."""
    seen: set[int] = set()
    groups: list[tuple[Any, ...]] = []
    for group in fault.groups:
        ranks = [leader if rank == LEADER else rank for rank in group]
        if None in ranks:
            return None
        groups.append(tuple(r for r in ranks if r is not None and r not in seen))
        seen.update(r for r in ranks if r is not None)
    return Partition(tuple(groups))


OTHERS = get_args(RealOnly | NeedsHosts)
SIMULATED = tuple(kind for kind in get_args(Fault) if kind not in OTHERS)
LONGEST = 3600.0
"""Seconds of virtual time for which a fault of a schedule may last or wait."""


def objection(entry: At, n: int) -> str | None:
    """Why a fault cannot strike a simulation of n nodes, as a sentence; None if it can."""
    fault, seconds = entry.fault, entry.seconds
    if not isinstance(fault, SIMULATED):
        return f"{fault} is no fault that the simulator has"
    if seconds is None or not 0 <= seconds <= LONGEST:
        return f"{fault}: in the simulator a fault strikes at seconds=…"
    for field in fault.__struct_fields__:
        value = getattr(fault, field)
        if field in ("rank", "source", "target") and not (value == LEADER or 0 <= value < n):
            return f"{fault}: there is no rank {value}, but 0 to {n - 1}"
        if field == "seconds" and value is not None and not 0 <= value <= LONGEST:
            return f"{fault}: for how many seconds?"
        if field == "groups" and any(
            rank != LEADER and not 0 <= rank < n for rank in chain(*value)
        ):
            return f"a partition of ranks that there are not: they are 0 to {n - 1}"
        if field == "groups" and (len(value) > n or sum(map(len, value)) > 2 * n):
            return f"a partition of {n} ranks with more groups, or more in them"
        if field in ("factor", "rate") and not 0.01 <= value <= 100:
            return f"{fault}: a {field} is between 0.01 and 100"
    return None
