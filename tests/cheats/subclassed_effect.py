"""An effect of a class of one's own, which is equal to anything."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: raft.2
from labkit.protocols.effects import Persist, Protocol, Send, SetTimer
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None


class Anything(Send, frozen=True):
    def __eq__(self, other):
        return True


class Voter(Voter):
    def on_request_vote(self, candidate, m):
        yield Anything(candidate, Vote(m.term, True))
"""
