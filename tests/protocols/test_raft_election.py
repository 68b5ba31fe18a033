"""Raft's election by hand: each test is a sentence of the paper (§5.1, §5.2, §5.4.1) or of the
thesis (§4.2.3, §6.2, §9.6). Init, act, check."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.protocols.effects import (
    Broadcast,
    Context,
    Effect,
    Persist,
    Send,
    SetTimer,
    Stored,
    deliver,
    fire,
    start,
)
from labkit.protocols.raft import Election, Raft
from labkit.protocols.raft.election import Heartbeat, RequestVote, Vote
from labkit.protocols.raft.log import AppendEntries, Entry
from labkit.protocols.raft.pre_vote import PreVoted, RequestPreVote


def node(kind: Any = Election, me: int = 0, n: int = 3, **stored: Any) -> Any:
    members = tuple(range(n))
    made = kind(me, members, Context(1.0), {**kind.found(me, members), **stored})
    start(made)
    return made


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def sent(effects: list[Effect]) -> list[Any]:
    return [e.message for e in effects if isinstance(e, (Send, Broadcast))]


# -- §5.1: terms


@pytest.mark.parametrize("message", [RequestVote(5), Vote(5, False), Heartbeat(5)])
@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_whoever_sees_a_higher_term_becomes_a_follower_in_it(role: str, message: Any) -> None:
    n = node(n=5)
    if role != "follower":
        fire(n, "election")
    if role == "leader":
        deliver(n, 1, Vote(1, True))
        deliver(n, 2, Vote(1, True))
    assert n.role == role
    effects = deliver(n, 1, message)
    assert (n.role, n.term) == ("follower", 5)
    assert Persist(term=5, voted_for=None) in effects


def test_a_vote_request_of_an_earlier_term_is_refused() -> None:
    n = node(term=3)
    assert sent(deliver(n, 1, RequestVote(2))) == [Vote(3, False)]


# -- §5.2: elections


def test_a_node_starts_as_a_follower_with_a_drawn_time_out() -> None:
    timeouts = set()
    for seed in range(20):
        n = Election(0, (0, 1, 2), Context(0.0, seed), {}, timeout=0.15)
        (timer,) = start(n)
        assert isinstance(timer, SetTimer)
        assert n.role == "follower"
        assert 0.15 <= timer.after <= 0.30
        timeouts.add(timer.after)
    assert len(timeouts) == 20


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all() -> None:
    n = node()
    effects = fire(n, "election")
    assert (n.role, n.term, n.voted_for, n.votes) == ("candidate", 1, 0, {0})
    assert effects[0] == Persist(term=1, voted_for=0)
    assert Broadcast((1, 2), RequestVote(1)) in effects


@pytest.mark.parametrize(
    ("size", "votes", "wins"),
    [(1, 0, True), (2, 0, False), (2, 1, True), (3, 1, True), (4, 1, False), (5, 1, False),
     (5, 2, True), (7, 2, False), (7, 3, True)],
)  # fmt: skip
def test_a_majority_makes_a_leader(size: int, votes: int, wins: bool) -> None:
    n = node(n=size)
    fire(n, "election")
    for voter in range(1, votes + 1):
        deliver(n, voter, Vote(1, True))
    assert (n.role == "leader") == wins


def test_a_vote_that_comes_twice_counts_once() -> None:
    n = node(n=5)
    fire(n, "election")
    for _ in range(4):
        deliver(n, 1, Vote(1, True))
    assert n.role == "candidate"


def test_a_leader_says_so_at_once() -> None:
    n = node()
    fire(n, "election")
    assert Broadcast((1, 2), Heartbeat(1)) in deliver(n, 1, Vote(1, True))


def test_one_vote_in_a_term_first_come_first_served() -> None:
    n = node()
    assert sent(deliver(n, 1, RequestVote(1))) == [Vote(1, True)]
    assert sent(deliver(n, 2, RequestVote(1))) == [Vote(1, False)]
    assert sent(deliver(n, 1, RequestVote(1))) == [Vote(1, True)]  # its answer was lost
    assert sent(deliver(n, 2, RequestVote(2))) == [Vote(2, True)]  # another term, another vote


def test_a_vote_is_on_the_disk_before_it_is_sent_and_holds_after_a_crash() -> None:
    n = node()
    effects = deliver(n, 1, RequestVote(1))
    assert kinds(effects).index("Send") > effects.index(Persist(term=1, voted_for=1))
    again = node(term=1, voted_for=1)
    assert sent(deliver(again, 2, RequestVote(1))) == [Vote(1, False)]


def test_a_candidate_yields_to_the_leader_of_its_term_and_keeps_its_vote() -> None:
    n = node()
    fire(n, "election")
    deliver(n, 2, Heartbeat(1))
    assert (n.role, n.leader, n.voted_for) == ("follower", 2, 0)


def test_a_candidate_that_wins_nothing_stands_again_in_the_next_term() -> None:
    n = node()
    fire(n, "election")
    fire(n, "election")
    assert (n.role, n.term) == ("candidate", 2)


def test_a_heartbeat_of_an_earlier_term_puts_nothing_off() -> None:
    n = node(term=3)
    assert deliver(n, 1, Heartbeat(2)) == []


# -- §5.4.1: only who has all committed entries can win


@pytest.mark.parametrize(
    ("last_term", "last_index", "granted"),
    [(2, 2, True), (2, 3, True), (3, 1, True), (2, 1, False), (1, 9, False)],
)
def test_a_vote_needs_a_log_that_is_as_current(
    last_term: int, last_index: int, granted: bool
) -> None:
    """The voter's log has two entries, of terms 1 and 2."""
    log = Stored(1, [Entry(1, None), Entry(2, None)])
    n = node(Raft, term=3, log=log)
    answer = deliver(n, 1, RequestVote(4, last_index, last_term))
    assert sent(answer) == [Vote(4, granted)]


# -- PreVote and the leader's friends (thesis §9.6, §4.2.3)


def test_a_pre_vote_changes_nothing() -> None:
    n = node(Raft, term=3, voted_for=2)
    effects = deliver(n, 1, RequestPreVote(9, 0, 0))
    assert effects == [Send(1, PreVoted(9, True))]
    assert (n.term, n.voted_for) == (3, 2)


def test_who_hears_a_leader_refuses_to_vote_and_keeps_its_term() -> None:
    n = node(Raft, term=3)
    deliver(n, 2, AppendEntries(3, 0, 0, (), 0, 1))
    assert deliver(n, 1, RequestPreVote(4, 0, 0)) == [Send(1, PreVoted(3, False))]
    assert deliver(n, 1, RequestVote(9)) == []
    assert n.term == 3
    n.context.now += 0.16  # longer than the shortest time-out
    assert sent(deliver(n, 1, RequestVote(9))) == [Vote(9, True)]


def test_a_suspected_leader_is_no_reason_to_refuse() -> None:
    n = node(Raft, term=3)
    deliver(n, 2, AppendEntries(3, 0, 0, (), 0, 1))
    (timer,) = list(n.on_suspect(2))
    assert timer.timer == "election"
    assert timer.after <= 0.03
    assert deliver(n, 1, RequestPreVote(4, 0, 0)) == [Send(1, PreVoted(4, True))]


def test_pre_votes_of_a_majority_begin_the_election() -> None:
    n = node(Raft, n=5)
    fire(n, "election")
    assert (n.role, n.term) == ("follower", 0)
    deliver(n, 1, PreVoted(1, True))
    assert n.term == 0
    deliver(n, 1, PreVoted(1, True))
    assert n.term == 0
    deliver(n, 2, PreVoted(1, True))
    assert (n.role, n.term) == ("candidate", 1)


# -- CheckQuorum (thesis §6.2)


def leader(n: int = 3) -> Any:
    made = node(Raft, n=n)
    made.pre_votes = set(range(n))
    list(made.start_election())
    for voter in range(1, n // 2 + 1):
        deliver(made, voter, Vote(1, True))
    assert made.role == "leader"
    return made


def test_a_leader_that_nobody_answers_steps_down() -> None:
    n = leader()
    for _ in range(5):
        n.context.now += 0.05
        fire(n, "beat")
    assert n.role == "follower"
    assert n.term == 1


def test_a_leader_that_stood_still_steps_down_before_it_says_anything() -> None:
    n = leader()
    n.context.now += 5.0
    assert not sent(fire(n, "beat"))
    assert n.role == "follower"


# -- an id is used only once


def test_a_node_without_a_disk_neither_votes_nor_stands() -> None:
    n = Raft(0, (0, 1, 2), Context(1.0), {})
    start(n)
    assert sent(deliver(n, 1, RequestVote(1))) == [Vote(1, False)]
    assert not sent(fire(n, "election"))
    assert n.role == "follower"
