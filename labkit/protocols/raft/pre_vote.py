"""PreVote and the refusal of a leader's friends (Ongaro's thesis, §9.6 and §4.2.3): a node that was
away does no harm when it comes back.

Without them an isolated node raises its term at every time-out; when it is back its high term
deposes a leader that did nothing wrong. With them a node first asks whether it would win, which
changes nobody's term, and who has heard from a leader lately says no.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Broadcast, Effects, Message, Send, SetTimer
from labkit.protocols.raft.election import FOLLOWER, LEADER
from labkit.protocols.raft.messages import RequestVote
from labkit.protocols.raft.snapshots import Snapshots

SUSPECTED_SECONDS = 0.03
"""Those who lose a leader at once wait up to this long, else they would all stand at once."""


class RequestPreVote(Message, frozen=True):
    """Would you vote for me in `term`?"""

    term: int
    last_term: int
    last_index: int


class PreVoted(Message, frozen=True):
    """`term` is the one asked about if granted, else the voter's own."""

    term: int
    granted: bool
    identity: int = 0


class PreVote(Snapshots):
    """`pre_vote=False` leaves it out, and the refusal with it."""

    def __init__(self, *arguments: Any, pre_vote: bool = True, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.pre_vote = pre_vote
        self.pre_votes: set[int] = set()
        self.suspects: set[int] = set()

    # -- messages

    def on_request_pre_vote(self, candidate: int, m: RequestPreVote) -> Effects:
        current = self.is_current(RequestVote(m.term, m.last_term, m.last_index))
        granted = m.term > self.term and current and not self.hears_a_leader()
        yield Send(candidate, PreVoted(m.term if granted else self.term, granted, self.identity))

    def on_pre_voted(self, voter: int, m: PreVoted) -> Effects:
        if not m.granted:
            yield from self.observe_term(m.term)
        elif m.term == self.term + 1 and self.pre_votes and self.role != LEADER:
            self.pre_votes.add(voter)
            if self.is_quorum(self.pre_votes):
                yield from self.become_candidate()

    def on_request_vote(self, candidate: int, m: RequestVote) -> Effects:
        if m.transfer or not (self.pre_vote and self.hears_a_leader()):
            yield from super().on_request_vote(candidate, m)

    def on_suspect(self, peer: int) -> Effects:
        """The host has evidence that `peer` is gone: no need to wait for the time-out."""
        self.suspects.add(peer)
        if self.role == FOLLOWER and peer == self.leader:
            self.leader = None
            yield SetTimer("election", SUSPECTED_SECONDS * self.context.random.random())

    def on_trust(self, peer: int) -> None:
        """The suspicion was a mistake, or the peer is back."""
        self.suspects.discard(peer)

    # -- timers

    def on_election(self) -> Effects:
        """Also of a candidate that did not win: else one that is cut off would raise its term."""
        if self.pre_vote:
            yield from self.ask_before_standing()
        else:
            yield from super().on_election()

    def ask_before_standing(self) -> Effects:
        self.leader, self.pre_votes = None, {self.me}
        yield SetTimer("election", self.draw_timeout())
        yield Broadcast(self.others, RequestPreVote(self.term + 1, *self.last_entry()))
        if self.is_quorum(self.pre_votes):  # it is alone
            yield from self.become_candidate()

    # -- transitions

    def become_candidate(self, transfer: bool = False) -> Effects:
        self.pre_votes = set()
        yield from super().become_candidate(transfer)

    def become_follower(self, leader: int | None) -> Effects:
        self.pre_votes = set()
        yield from super().become_follower(leader)

    # -- helpers

    def hears_a_leader(self) -> bool:
        """Within the shortest election time-out, and nobody has reason to think it dead."""
        if self.role == LEADER:
            return True
        recent = self.context.now - self.leader_seen < self.timeout
        return recent and self.leader is not None and self.leader not in self.suspects
