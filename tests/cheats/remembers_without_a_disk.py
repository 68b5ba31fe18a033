"""A node that keeps its vote where no crash of the simulator reaches, it thinks."""

POINTS = 0
VERDICT = "FAIL"
CELL = r"""# exercise: raft.2
import builtins

from labkit.protocols.effects import Persist, Protocol, Send, SetTimer
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None

    def on_request_vote(self, candidate, m):
        kept = builtins.__dict__.setdefault("kept", {})
        if m.term >= max(kept, default=0):
            kept.setdefault(m.term, candidate)
        yield Send(candidate, Vote(m.term, kept.get(m.term) == candidate))
"""
