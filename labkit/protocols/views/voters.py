"""Who votes on the views: ranks, and the *witness*, which keeps a log but does not train.

With it four ranks survive two deaths at once, and two ranks one. It has the highest id, and leads
when it can: then no death of a rank costs an election. Behind each view the voters follow it, one
at a time, so that a cluster whose ranks die one after the other goes on down to the last.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Effects, Send, SetTimer
from labkit.protocols.raft.election import FOLLOWER, LEADER
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.messages import Appended
from labkit.protocols.raft.transfer import TransferLeadership
from labkit.protocols.views.agreement import Agreement
from labkit.protocols.views.messages import Connected

MOST_VOTERS = 7
"""More survive no more in practice, and every one of them has to write every view to its disk."""

HEAD_START = 0.02
"""Whoever stands for election has so much time before the next one stands."""


class Voters(Agreement):
    @classmethod
    def found(cls, me: int, members: tuple[int, ...]) -> dict[str, Any]:
        *ranks, witness = sorted(members)
        return super().found(me, (*ranks[: MOST_VOTERS - 1], witness))

    def on_connected(self, host: int, m: Connected) -> Effects:
        before = self.connected
        yield from super().on_connected(host, m)
        new = set(self.connected) - set(before)
        if new and self.me == self.witness and self.role == FOLLOWER and self.leader is None:
            yield SetTimer("election", 0.0 if self.all_have_come() else HEAD_START)

    def all_have_come(self) -> bool:
        """Whether all that are expected are here: there is nobody to wait for."""
        here = {self.life, *self.connected}
        return self.expected is not None and here.issuperset(self.expected)

    def on_suspect(self, peer: int) -> Effects:
        """When the leader is gone the others stand in turn: the witness, then rank after rank. Of
        two that stood at once neither might win, when a majority needs all that are left."""
        led = self.role == FOLLOWER and self.leader == peer
        yield from super().on_suspect(peer)
        if led:
            before = [node for node in self.voters if self.is_connected(node) and node < self.me]
            first = self.me == self.witness
            turn = 0 if first else len(before) + self.is_connected(self.witness)
            yield SetTimer("election", HEAD_START * turn)

    def on_appended(self, follower: int, m: Appended) -> Effects:
        yield from super().on_appended(follower, m)
        yield from self.follow_the_view()

    def on_beat(self) -> Effects:
        yield from super().on_beat()
        yield from self.follow_the_view()

    def follow_the_view(self) -> Effects:
        """One step nearer to the voters that this view should have."""
        if self.role != LEADER or not self.may_change() or not self.machine.view.members:
            return
        if self.witness in self.voters and self.match_index.get(self.witness) == self.last_index:
            yield Send(self.me, TransferLeadership(self.witness))
            return
        right = self.right_voters()
        wrong = [node for node in (*self.voters, *self.learners) if self.has_no_vote(node, right)]
        wrong.sort(key=self.is_connected)  # the dead first: the living are needed for that
        missing = [node for node in right if node not in self.followers]
        if wrong:
            yield from self.on_change_membership(self.me, ChangeMembership(remove=wrong[0]))
        elif missing:
            yield from self.on_change_membership(self.me, ChangeMembership(add=missing[0]))

    def right_voters(self) -> tuple[int, ...]:
        """The first ranks of the view, and the witness. Two voters are worse than one: neither of
        them may die. So of two only the leader stays, unless it is about to hand over."""
        ranks = [member.rank for member in self.machine.view.members][: MOST_VOTERS - 1]
        if self.me != self.witness and self.is_connected(self.witness):
            return (*ranks, self.witness)
        right = (*ranks, self.witness) if self.me == self.witness else tuple(ranks)
        return (self.me,) if len(right) == 2 and self.me in right else right

    def has_no_vote(self, node: int, right: tuple[int, ...]) -> bool:
        """It does not belong to the voters, or has lost the disk with which it did."""
        report = self.reports.get(node)
        lost = report is not None and self.voters.get(node, report.identity) != report.identity
        return node != self.me and (node not in right or lost)

    def is_connected(self, node: int) -> bool:
        return any(member.rank == node for member in self.connected)
