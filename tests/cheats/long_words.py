"""Words, in formulas, with which a picture of the run is never done."""

POINTS = 0
VERDICT = "FAIL"
CELL = r"""# exercise: raft.2
from labkit.protocols.effects import Persist, Protocol, Record, Send
from labkit.protocols.raft.messages import Vote

FORMULA = "becomes $" + "\\sqrt{" * 200 + "x" + "}" * 200 + "$"


class Voter(Protocol):
    def on_request_vote(self, candidate, m):
        for _ in range(2):
            yield Record("role", FORMULA, term="y" * 20_000)
            yield Persist(word="M" * 20_000 + chr(10) + "z" * 100)
        yield Send(candidate, Vote(m.term, True))
"""
