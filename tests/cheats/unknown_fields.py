"""Records with a field more, and with a text for a number."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: raft.2
from labkit.grading.inside import records, values

from labkit.protocols.effects import Persist, Protocol, Send, SetTimer
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None

    def on_request_vote(self, candidate, m):
        values.taken_apart = lambda record: ("Vote", [m.term, True, "0", "what the grader wants"])
        yield Send(candidate, Vote(m.term, True))
"""
