"""Raft's leader election (Ongaro and Ousterhout 2014, §5.1 and §5.2): at most one leader in a term.

Time is cut into *terms*. A follower that hears of no leader for a time-out that it draws anew each
time stands as a candidate in the next term and asks for votes. A node gives one vote in a term and
writes it down before it says so. A majority of votes makes a leader, and two majorities have a node
in common: so there are never two. Drawn time-outs part candidates who stand at the same time.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import (
    Broadcast,
    CancelTimer,
    Effects,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)
from labkit.protocols.raft.messages import Heartbeat, RequestVote, Vote

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"


class Election(Protocol):
    """`timeout` T, in seconds: time-outs are drawn from [T, 2T], a leader beats every T/3."""

    def __init__(self, *arguments: Any, timeout: float = 0.15) -> None:
        super().__init__(*arguments)
        *_, stored = arguments
        self.timeout = timeout
        # Persistent state on all servers
        self.term: int = stored.get("term", 0)
        self.voted_for: int | None = stored.get("voted_for")
        self.identity: int = stored.get("identity", 0)
        # Volatile state on all servers
        self.role = FOLLOWER
        self.leader: int | None = None
        self.voters = dict.fromkeys(self.members, 0)  # and their identities
        self.others = self.peers  # whom a leader or candidate speaks to
        self.votes: set[int] = set()  # on candidates

    @property
    def leads(self) -> bool:
        return self.role == LEADER

    def on_start(self) -> Effects:
        yield SetTimer("election", self.draw_timeout())

    def on_request_vote(self, candidate: int, m: RequestVote) -> Effects:
        yield from self.observe_term(m.term)
        granted = m.term == self.term and self.voted_for in (None, candidate) and self.is_current(m)
        if granted:
            if self.voted_for is None:
                self.voted_for = candidate
                yield Persist(term=self.term, voted_for=candidate)  # a vote must outlive a crash
            yield SetTimer("election", self.draw_timeout())
        yield Send(candidate, Vote(self.term, granted, self.identity))

    def on_vote(self, voter: int, m: Vote) -> Effects:
        yield from self.observe_term(m.term)
        if self.role == CANDIDATE and m.term == self.term and m.granted:
            self.votes.add(voter)  # a set: a vote that arrives twice counts once
            if self.is_quorum(self.votes):
                yield from self.become_leader()

    def on_heartbeat(self, leader: int, m: Heartbeat) -> Effects:
        yield from self.observe_term(m.term)
        if m.term == self.term:
            yield from self.become_follower(leader)

    def on_election(self) -> Effects:  # no leader was heard of for a whole time-out
        yield from self.become_candidate()

    def on_beat(self) -> Effects:
        yield Broadcast(self.others, Heartbeat(self.term))
        yield SetTimer("beat", self.timeout / 3, periodic=True)

    # -- transitions

    def become_candidate(self, transfer: bool = False) -> Effects:
        assert self.role != LEADER, "a leader does not stand: it leads already"
        self.role, self.leader, self.votes = CANDIDATE, None, {self.me}
        self.term, self.voted_for = self.term + 1, self.me
        yield Persist(term=self.term, voted_for=self.me)
        yield Record("role", "becomes candidate", term=self.term)
        yield SetTimer("election", self.draw_timeout())
        yield Broadcast(self.others, RequestVote(self.term, *self.last_entry(), transfer))
        if self.is_quorum(self.votes):  # it is alone
            yield from self.become_leader()

    def become_leader(self) -> Effects:
        assert self.role == CANDIDATE, f"a {self.role} cannot win an election"
        self.role, self.leader = LEADER, self.me
        yield Record("role", "becomes leader", term=self.term)
        yield CancelTimer("election")
        yield from self.on_beat()

    def become_follower(self, leader: int | None) -> Effects:
        """Of `leader`, or of nobody yet; in either case the election time-out begins anew."""
        if self.role != FOLLOWER:
            yield Record("role", "becomes follower", term=self.term)
            yield CancelTimer("beat")
        self.role, self.leader = FOLLOWER, leader
        yield SetTimer("election", self.draw_timeout())

    def observe_term(self, term: int) -> Effects:
        """§5.1: whoever sees a higher term moves to it, as a follower that has not voted."""
        if term > self.term:
            self.term, self.voted_for = term, None
            yield Persist(term=term, voted_for=None)
            if self.role == FOLLOWER:
                self.leader = None  # nobody is known to lead this term; the time-out runs on
            else:
                yield from self.become_follower(None)

    # -- helpers, which the next files refine

    def last_entry(self) -> tuple[int, int]:
        return 0, 0  # term and index

    def is_current(self, m: RequestVote) -> bool:  # §5.4.1
        return (m.last_term, m.last_index) >= self.last_entry()

    def is_quorum(self, nodes: set[int]) -> bool:
        """Whether these nodes are a majority of the voters."""
        return 2 * sum(node in self.voters for node in nodes) > len(self.voters)

    def draw_timeout(self) -> float:
        return self.timeout * (1 + self.context.random.random())
