"""Messages to nodes that there are not, and more of them than anybody can carry."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: raft.2
from labkit.protocols.effects import Broadcast

from labkit.protocols.effects import Persist, Protocol, Send, SetTimer
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None

    def on_request_vote(self, candidate, m):
        to = (77,) if m.term % 2 else tuple([candidate] * 100_000)
        yield Broadcast(to, Vote(m.term, True))
"""
