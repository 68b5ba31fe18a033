"""A view: who is in the group, as agreed by its members (K. Birman and T. Joseph, SOSP 1987)."""

from __future__ import annotations

import msgspec


class View(msgspec.Struct, frozen=True):
    """View `number` of the cluster: its members are ranks, in order. Numbers only grow."""

    number: int
    members: tuple[int, ...]

    def __str__(self) -> str:
        return f"view {self.number} {{{','.join(map(str, self.members))}}}"
