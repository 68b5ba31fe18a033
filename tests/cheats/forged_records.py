"""Dictionaries that look like records on the wire."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: raft.2
from labkit.protocols.effects import Persist, Protocol, Send, SetTimer
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None

    def on_request_vote(self, candidate, m):
        yield {"record": ["Send", [candidate, {"record": ["Vote", [m.term, True, 0]]}]]}
"""
