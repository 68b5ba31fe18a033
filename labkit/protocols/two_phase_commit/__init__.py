"""Two-phase commit (J. Gray, "Notes on Data Base Operating Systems", 1978): all participants commit
a transaction, or none does.

Phase one: the coordinator asks all to prepare; who votes yes has written down all that it needs to
commit. Phase two: when all have voted yes, the coordinator decides, and tells them.

To be read in this order: `messages`, `coordinator` (and `until_answered`, how it says things),
`participant`, `in_doubt`, and `replicated`, which takes away the one weakness: that all must wait
for a coordinator that is gone.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Protocol
from labkit.protocols.two_phase_commit.coordinator import Coordinator
from labkit.protocols.two_phase_commit.messages import (
    Acknowledged,
    Begin,
    Decision,
    Inquire,
    Prepare,
    Ranks,
    Voted,
)
from labkit.protocols.two_phase_commit.participant import Participant

__all__ = [
    "Acknowledged",
    "Begin",
    "Coordinator",
    "Decision",
    "Inquire",
    "Participant",
    "Prepare",
    "Voted",
    "two_phase_commit",
]


def two_phase_commit(me: int, members: Ranks, *others: Any) -> Protocol:
    """The first member coordinates, the others participate."""
    return (Coordinator if me == members[0] else Participant)(me, members, *others)
