"""A node whose timers run out at once, for ever: no virtual time passes."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: raft.2
from labkit.protocols.effects import Persist, Protocol, Send, SetTimer
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term, self.voted_for = 0, None

    def on_start(self):
        yield SetTimer("again", 0.0)

    def on_again(self):
        yield SetTimer("again", 0.0)
"""
