# exercise: raft.2
from labkit.protocols.effects import Persist, Protocol, Send
from labkit.protocols.raft.messages import Vote


class Voter(Protocol):
    """A node that votes and never stands. A crash may fall between any two effects, and then only
    what was persisted is left. It has one bug."""

    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term = stored.get("term", 0)
        self.voted_for = stored.get("voted_for")

    def on_request_vote(self, candidate, m):
        if m.term > self.term:
            self.term, self.voted_for = m.term, None
        granted = m.term == self.term and self.voted_for in (None, candidate)
        if granted:
            self.voted_for = candidate
            yield Persist(term=self.term, voted_for=candidate)
        yield Send(candidate, Vote(self.term, granted))
