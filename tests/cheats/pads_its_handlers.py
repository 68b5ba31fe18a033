"""A node that keeps its vote in memory, behind more effects than there are crashes."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: raft.2
from labkit.protocols.effects import Protocol, Record, Send
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None

    def on_request_vote(self, candidate, m):
        if m.term > self.term:
            self.term, self.voted_for = m.term, None
        granted = m.term == self.term and self.voted_for in (None, candidate)
        for _ in range(10):
            yield Record("note", "nothing")
        if granted:
            self.voted_for = candidate
        yield Send(candidate, Vote(self.term, granted))
"""
