"""Raft's leader election (D. Ongaro and J. Ousterhout, "In Search of an Understandable Consensus
Algorithm", USENIX ATC 2014, §5.1 and §5.2): at most one leader in each term.

Time is cut into *terms*, numbered upwards. A follower that hears from no leader for a time-out that
it draws anew each time stands as a candidate in the next term and asks for votes. A node gives one
vote in a term and writes it down before it says so; a majority of votes makes a leader, and two
majorities have a node in common: that is why there cannot be two. The time-outs are drawn so that
candidates rarely stand at the same time, and when they do, the next draw parts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labkit.protocols.effects import (
    Broadcast,
    CancelTimer,
    Context,
    Effects,
    Message,
    Persist,
    Protocol,
    Record,
    Send,
    SetTimer,
)

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"


class RequestVote(Message, frozen=True):
    term: int
    last_index: int = 0  # of the candidate's log, which the next file adds (§5.4.1)
    last_term: int = 0
    transfer: bool = False  # the old leader asked for this election


class Vote(Message, frozen=True):
    term: int
    granted: bool


class Heartbeat(Message, frozen=True):
    """The leader of `term` is alive."""

    term: int


class Election(Protocol):
    """`timeout` T in seconds: an election time-out is drawn from [T, 2T], a leader beats every T/3.

    The paper's figure 2 names the state.
    """

    def __init__(
        self,
        me: int,
        members: tuple[int, ...],
        context: Context,
        stored: Mapping[str, Any],
        *,
        timeout: float = 0.15,
    ) -> None:
        super().__init__(me, members, context, stored)
        self.timeout = timeout
        # Persistent state on all servers
        self.term: int = stored.get("term", 0)
        self.voted_for: int | None = stored.get("voted_for")
        # Volatile state on all servers
        self.role = FOLLOWER
        self.leader: int | None = None
        self.leader_seen = float("-inf")  # when it was heard of last, on this node's clock
        self.voters = dict.fromkeys(members, 0)
        self.others = self.peers  # whom a leader or candidate speaks to
        # Volatile state on candidates
        self.votes: set[int] = set()

    @property
    def leads(self) -> bool:
        return self.role == LEADER

    def on_start(self) -> Effects:
        yield SetTimer("election", self.draw_timeout())

    # -- messages

    def on_request_vote(self, candidate: int, m: RequestVote) -> Effects:
        yield from self.observe_term(m.term)
        free = self.voted_for is None or self.voted_for == candidate
        granted = m.term == self.term and free and self.may_vote() and self.is_current(m)
        if granted:
            if self.voted_for is None:
                self.voted_for = candidate
                yield Persist(term=self.term, voted_for=candidate)  # a vote must outlive a crash
            yield SetTimer("election", self.draw_timeout())
        yield Send(candidate, Vote(self.term, granted))

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

    # -- timers

    def on_election(self) -> Effects:
        """No leader was heard of for a whole time-out."""
        if self.may_stand():
            yield from self.start_election()
        else:
            yield SetTimer("election", self.draw_timeout())

    def on_beat(self) -> Effects:
        yield from self.assert_leadership()
        yield SetTimer("beat", self.timeout / 3)

    # -- transitions

    def start_election(self, transfer: bool = False) -> Effects:
        yield from self.become_candidate()
        yield Broadcast(self.others, self.request_vote(transfer))
        if self.is_quorum(self.votes):  # it is alone
            yield from self.become_leader()

    def become_candidate(self) -> Effects:
        assert self.role != LEADER, "a leader does not stand: it leads already"
        self.role, self.leader, self.votes = CANDIDATE, None, {self.me}
        self.term += 1
        self.voted_for = self.me
        yield Persist(term=self.term, voted_for=self.me)
        yield Record("role", "becomes candidate", term=self.term)
        yield SetTimer("election", self.draw_timeout())

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
        if leader is not None:
            self.leader_seen = self.context.now
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

    def assert_leadership(self) -> Effects:
        yield Broadcast(self.others, Heartbeat(self.term))

    def request_vote(self, transfer: bool) -> RequestVote:
        return RequestVote(self.term, transfer=transfer)

    def is_current(self, m: RequestVote) -> bool:
        return True

    def may_vote(self) -> bool:
        return True

    def may_stand(self) -> bool:
        return self.me in self.voters

    def is_quorum(self, nodes: Iterable[int]) -> bool:
        """Whether these nodes are a majority of the voters."""
        return 2 * sum(node in self.voters for node in nodes) > len(self.voters)

    def draw_timeout(self) -> float:
        return self.timeout * (1 + self.context.random.random())
