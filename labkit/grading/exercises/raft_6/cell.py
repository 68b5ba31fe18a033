# exercise: raft.6
from labkit.protocols.effects import Apply, Persist, Protocol, Send, Splice, Stored
from labkit.protocols.raft.messages import Appended


class Follower(Protocol):
    """A node that follows whoever leads. Messages may be late, and may come twice. A crash may fall
    between any two effects, and then only what was persisted is left. It has one bug."""

    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.term = stored.get("term", 0)
        self.log = stored.get("log", Stored()).items  # self.log[0] is the entry at index 1
        self.applied = 0

    def on_append_entries(self, leader, m):
        if m.term < self.term:
            yield Send(leader, Appended(self.term, False, 0, m.round))
            return
        if m.term > self.term:
            self.term = m.term
            yield Persist(term=m.term)
        if not self.matches(m.prev_index, m.prev_term):
            yield Send(leader, Appended(self.term, False, 0, m.round))
            return
        for index, entry in enumerate(m.entries, m.prev_index + 1):
            if not self.matches(index, entry.term):  # from here on the leader's log is another one
                self.log[index - 1 :] = m.entries[index - m.prev_index - 1 :]
                yield Persist(log=Splice(index, tuple(self.log[index - 1 :])))
                break
        last = m.prev_index + len(m.entries)
        yield Send(leader, Appended(self.term, True, last, m.round))
        while self.applied < min(m.commit, last):
            self.applied += 1
            yield Apply(self.applied, self.log[self.applied - 1].command)

    def matches(self, index, term):
        return index == 0 or (index <= len(self.log) and self.log[index - 1].term == term)
