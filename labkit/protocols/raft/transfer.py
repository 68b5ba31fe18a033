"""Leadership transfer (Ongaro's thesis, §3.10): the leader asks another to stand at once."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Effects, Message, Send, SetTimer
from labkit.protocols.raft.election import FOLLOWER, LEADER
from labkit.protocols.raft.membership import Membership


class TransferLeadership(Message, frozen=True):
    """A wish of whoever runs the cluster."""

    target: int


class TimeoutNow(Message, frozen=True):
    term: int


class Transfer(Membership):
    """While it hands over, a leader takes no new commands: the target could never catch up."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Volatile state on leaders
        self.transfer_to: int | None = None

    def on_transfer_leadership(self, sender: int, m: TransferLeadership) -> Effects:
        if self.role == LEADER and m.target in self.voters and m.target != self.me:
            self.transfer_to = m.target
            yield SetTimer("transfer", self.timeout)
            yield from self.hand_over()

    def progressed(self, follower: int) -> Effects:
        yield from super().progressed(follower)
        if self.transfer_to == follower:
            yield from self.hand_over()

    def hand_over(self) -> Effects:
        """When the target has the whole log: it would lose the election otherwise."""
        target = self.transfer_to
        if self.role != LEADER or target is None:
            return
        if self.match_index.get(target) == self.last_index:
            yield Send(target, TimeoutNow(self.term))

    def on_timeout_now(self, leader: int, m: TimeoutNow) -> Effects:
        if m.term == self.term and self.role == FOLLOWER and self.may_stand():
            yield from self.become_candidate(transfer=True)

    def on_transfer(self) -> None:
        """It took an election time-out: the transfer is off, and the leader goes on."""
        self.transfer_to = None

    def become_leader(self) -> Effects:
        self.transfer_to = None
        yield from super().become_leader()

    def may_change(self) -> bool:
        return self.transfer_to is None and super().may_change()
