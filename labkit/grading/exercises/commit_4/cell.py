# exercise: commit.4
from labkit.protocols.effects import Apply, Broadcast, Persist, Protocol, Send, SetTimer
from labkit.protocols.two_phase_commit.messages import Acknowledged, Decision, Inquire, Voted


class Clerk(Protocol):
    """A participant; rank 0 coordinates. A crash may fall between any two effects, and then only
    what was persisted is left. It has one bug."""

    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.prepared = {m.transaction: m for m in stored.get("prepared", ())}  # it is in doubt
        self.ended = dict(stored.get("ended", ()))  # by transaction: was it a commit?

    def on_start(self):
        for transaction in tuple(self.prepared):
            yield from self.on_silence(transaction)

    def on_prepare(self, coordinator, m):
        if m.transaction in self.ended:  # it has refused
            yield Send(coordinator, Voted(m.transaction, False))
        else:
            self.prepared[m.transaction] = m
            yield Persist(prepared=tuple(self.prepared.values()))
            yield Send(coordinator, Voted(m.transaction, True))
            yield SetTimer("silence", 0.5, m.transaction)

    def on_decision(self, sender, m):
        if m.transaction in self.prepared:
            del self.prepared[m.transaction]
            self.ended[m.transaction] = m.commit
            yield Apply(m.transaction, m.commit)
            yield self.state()
        if m.transaction in self.ended and m.commit and sender == 0:
            yield Send(sender, Acknowledged(m.transaction))

    def on_inquire(self, fellow, m):
        if m.transaction in self.ended:
            yield Send(fellow, Decision(m.transaction, self.ended[m.transaction]))
        elif m.transaction not in self.prepared:  # it has not voted, and now never will
            self.ended[m.transaction] = False
            yield self.state()
            yield Send(fellow, Decision(m.transaction, False))

    def on_silence(self, transaction):
        if transaction in self.prepared:
            fellows = [p for p in self.prepared[transaction].participants if p != self.me]
            yield Broadcast((0, *fellows), Inquire(transaction))
            yield SetTimer("silence", 0.5, transaction)

    def state(self):
        return Persist(prepared=tuple(self.prepared.values()), ended=tuple(self.ended.items()))
