"""PreVote, CheckQuorum and suspicion by hand: each test is a sentence of Ongaro's thesis, §9.6,
§4.2.3 or §6.2."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import leader, node, sent, timers

from labkit.protocols.effects import Send, SetTimer, deliver, fire
from labkit.protocols.raft.messages import Appended, AppendEntries, RequestVote, Vote
from labkit.protocols.raft.pre_vote import SUSPECTED_SECONDS, PreVoted, RequestPreVote


def beat(term: int) -> AppendEntries:
    return AppendEntries(term, 0, 0, (), 0, 1)


def follower(n: int = 3, me: int = 0) -> Any:
    """It heard of node 2, leader of term 3, at second 1.0."""
    made = node(n=n, me=me, term=3)
    deliver(made, 2, beat(3))
    return made


# -- §9.6: a node asks first whether it would win


def test_before_it_stands_a_node_asks_and_changes_nothing_by_it() -> None:
    n = node(n=3, log=(1, 2), term=3, voted_for=2)

    effects = fire(n, "election")

    assert sent(effects) == [RequestPreVote(4, last_term=2, last_index=2)]
    assert timers(effects) == ["election"]
    assert (n.role, n.term, n.voted_for) == ("follower", 3, 2)


def test_to_be_asked_changes_nothing() -> None:
    n = node(term=3, voted_for=2)

    effects = deliver(n, 1, RequestPreVote(9, 0, 0))

    assert effects == [Send(1, PreVoted(9, True))]
    assert (n.term, n.voted_for) == (3, 2)


@pytest.mark.parametrize(
    ("term", "last_term", "last_index", "granted"),
    [(4, 2, 2, True), (9, 3, 1, True), (3, 2, 2, False), (4, 2, 1, False), (4, 1, 9, False)],
)
def test_yes_is_said_to_a_later_term_and_a_log_that_is_as_current(
    term: int, last_term: int, last_index: int, granted: bool
) -> None:
    n = node(log=(1, 2), term=3)

    effects = deliver(n, 1, RequestPreVote(term, last_term, last_index))

    assert effects == [Send(1, PreVoted(term if granted else 3, granted))]


def test_a_majority_of_yes_begins_the_election() -> None:
    n = node(n=5)
    fire(n, "election")

    deliver(n, 1, PreVoted(1, True))
    deliver(n, 1, PreVoted(1, True))
    before = n.term
    deliver(n, 2, PreVoted(1, True))

    assert before == 0
    assert (n.role, n.term) == ("candidate", 1)


def test_a_yes_to_an_earlier_question_does_not_count() -> None:
    n = node(n=3, term=3)
    fire(n, "election")
    deliver(n, 1, PreVoted(5, False))  # it is in term 5 now

    deliver(n, 1, PreVoted(4, True))

    assert (n.role, n.term) == ("follower", 5)


def test_a_yes_is_no_vote() -> None:
    n = node(n=5, pre_vote=False)
    fire(n, "election")

    for voter in (1, 2, 3):
        deliver(n, voter, PreVoted(1, True))

    assert n.role == "candidate"


def test_who_has_heard_of_a_leader_since_gives_up_the_question() -> None:
    n = node(n=3, term=3)
    fire(n, "election")
    deliver(n, 2, beat(3))

    deliver(n, 1, PreVoted(4, True))

    assert (n.role, n.term) == ("follower", 3)


def test_a_node_that_is_cut_off_keeps_its_term() -> None:
    n = node(n=3, term=3)

    for _ in range(20):
        fire(n, "election")

    assert n.term == 3


def test_so_does_a_candidate_that_is_cut_off() -> None:
    n = node(n=3, term=3)
    fire(n, "election")
    deliver(n, 1, PreVoted(4, True))
    assert (n.role, n.term) == ("candidate", 4)

    for _ in range(20):
        fire(n, "election")

    assert n.term == 4


def test_a_candidate_that_is_asking_again_can_still_win_its_election() -> None:
    n = node(n=3, term=3)
    fire(n, "election")
    deliver(n, 1, PreVoted(4, True))
    fire(n, "election")

    deliver(n, 1, Vote(4, True))

    assert (n.role, n.term) == ("leader", 4)


# -- §4.2.3: who hears a leader refuses


def test_who_hears_a_leader_says_no_and_ignores_higher_terms() -> None:
    n = follower()

    asked = deliver(n, 1, RequestPreVote(4, 0, 0))
    requested = deliver(n, 1, RequestVote(9))

    assert asked == [Send(1, PreVoted(3, False))]
    assert requested == []
    assert n.term == 3


def test_after_the_shortest_time_out_it_listens_again() -> None:
    n = follower()

    n.context.now += 1.01 * n.timeout

    assert sent(deliver(n, 1, RequestVote(9))) == [Vote(9, True)]


def test_a_leader_hears_itself() -> None:
    n = leader()

    assert deliver(n, 1, RequestVote(9)) == []
    assert n.role == "leader"


def test_without_a_time_out_of_its_own_only_a_transfer_deposes_a_leader() -> None:
    n = leader()

    (vote,) = sent(deliver(n, 1, RequestVote(2, 9, 9, transfer=True)), Vote)

    assert vote.granted
    assert n.role == "follower"


# -- suspicion: a closed connection is better evidence than a time-out


def test_who_loses_its_leader_stands_within_a_short_time_that_is_drawn() -> None:
    drawn = set()
    for me in range(5):
        n = follower(n=6, me=me) if me != 2 else follower(n=6, me=5)
        n.context.random.seed(me)

        (timer,) = list(n.on_suspect(2))

        assert isinstance(timer, SetTimer)
        assert timer.timer == "election"
        assert 0 <= timer.after <= SUSPECTED_SECONDS
        drawn.add(timer.after)
    assert len(drawn) == 5


def test_to_lose_another_node_is_no_reason() -> None:
    n = follower()

    assert list(n.on_suspect(1)) == []


def test_a_voter_that_suspects_the_leader_too_does_not_refuse() -> None:
    n = follower()
    list(n.on_suspect(2))

    assert sent(deliver(n, 1, RequestPreVote(4, 0, 0))) == [PreVoted(4, True)]
    assert sent(deliver(n, 1, RequestVote(4))) == [Vote(4, True)]


def test_a_voter_that_still_hears_it_refuses() -> None:
    n = follower()
    list(n.on_suspect(1))

    assert sent(deliver(n, 1, RequestPreVote(4, 0, 0))) == [PreVoted(3, False)]


def test_a_suspicion_can_be_a_mistake() -> None:
    n = follower()
    list(n.on_suspect(2))
    deliver(n, 2, beat(3))  # of before, perhaps
    during = sent(deliver(n, 1, RequestPreVote(4, 0, 0)))

    n.on_trust(2)
    after = sent(deliver(n, 1, RequestPreVote(4, 0, 0)))

    assert during == [PreVoted(4, True)]
    assert after == [PreVoted(3, False)]


# -- §6.2: CheckQuorum


def test_a_leader_that_nobody_answers_steps_down_within_two_time_outs() -> None:
    n = leader()
    beats = 0

    while n.role == "leader" and beats < 6:  # three of them fall in a time-out
        n.context.now += n.timeout / 3
        fire(n, "beat")
        beats += 1

    assert (n.role, n.term) == ("follower", 1)


def test_a_leader_that_a_majority_answers_stays() -> None:
    n = leader(n=5)

    for _ in range(30):
        n.context.now += n.timeout / 3
        fire(n, "beat")
        for follower in (1, 2):
            deliver(n, follower, Appended(1, True, 1, n.round))

    assert n.role == "leader"


def test_without_it_a_leader_that_nobody_answers_rules_for_ever() -> None:
    n = leader(check_quorum=False)

    for _ in range(30):
        n.context.now += n.timeout / 3
        fire(n, "beat")

    assert n.role == "leader"


def test_a_leader_that_stood_still_steps_down_before_it_says_anything() -> None:
    """Also if the answers that waited for it are handled first: they are of before."""
    n = leader()
    n.context.now += 5.0
    for follower in (1, 2):
        deliver(n, follower, Appended(1, True, 1, n.round))

    effects = fire(n, "beat")

    assert not sent(effects)
    assert n.role == "follower"
