"""A view: who is in the group, as agreed by its members (K. Birman and T. Joseph, SOSP 1987); what
a member is told when the others do not come, and where those of the next view go on. Without torch:
the driver and the simulator read these too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class Member(NamedTuple):
    """One life of a rank."""

    rank: int
    life: int


class View(msgspec.Struct, frozen=True):
    """View `number` of the cluster: its members are ranks, in order. Numbers only grow."""

    number: int
    members: tuple[int, ...]

    def __str__(self) -> str:
        return f"view {self.number} {{{','.join(map(str, self.members))}}}"


class PeerLost(RuntimeError):
    """A member of the group is gone, or its function is over; `rank` says who, `view` of which
    view. Who `goes_on` has only left the group for a newer view, and waits there.

    The survivors go on after `worker.regroup()`, which waits for the next view.
    """

    def __init__(self, rank: int, view: View, goes_on: bool = False) -> None:
        super().__init__(rank, view, goes_on)
        self.rank, self.view, self.goes_on = rank, view, goes_on

    def __str__(self) -> str:
        where = "has gone on to a newer view" if self.goes_on else "is gone"
        return (
            f"rank {self.rank} of {self.view} {where}: "
            "worker.regroup() forms a group of the survivors"
        )


class Superseded(RuntimeError):
    """There is a newer view than the one whose group was being formed."""


class RunOver(RuntimeError):
    """All others have ended the run that this rank was about to join."""


class CollectiveTimeout(RuntimeError):
    """A collective did not end within the group's deadline, and no member is known to be dead."""


def roll_forward(steps: Mapping[int, int], minimum: int) -> tuple[int, list[int], int] | None:
    """From the steps that each member has applied: whose state goes to the others, to which of
    them, and the next step. None with fewer members than `minimum`."""
    if len(steps) < minimum:
        return None
    furthest = max(steps.values())
    source = min(member for member, step in steps.items() if step == furthest)
    return source, sorted(m for m in steps if steps[m] < furthest), furthest + 1
