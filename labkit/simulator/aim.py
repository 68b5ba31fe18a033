"""Faults that name no rank: whoever leads when they strike, and all that are dead."""

from __future__ import annotations

from typing import Any

import msgspec

from labkit.faults import LEADER, Fault, Partition


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
