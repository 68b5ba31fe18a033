"""Raft's membership by hand: each test is a sentence of Ongaro's thesis, §4.1 or §4.2."""

from __future__ import annotations

from typing import Any

from by_hand import answer, entries, leader, node, receivers, sent, settled

from labkit.protocols.effects import Context, Send, Stored, deliver, fire, start
from labkit.protocols.raft import Raft
from labkit.protocols.raft.machine import Put
from labkit.protocols.raft.membership import (
    AskIdentity,
    ChangeMembership,
    Configuration,
    Identity,
)
from labkit.protocols.raft.messages import Appended, AppendEntries, Entry, RequestVote, Vote


def voters(*nodes: int, **new: int) -> Configuration:
    """Founders by their numbers, others as `n3=7`: node 3 with identity 7."""
    pairs = [(n, 0) for n in nodes] + [(int(name[1:]), i) for name, i in new.items()]
    return Configuration(tuple(sorted(pairs)))


def admit(made: Any, new: int, identity: int) -> list[Any]:
    """A learner that answers, catches up, and is promoted at the leader's next beat."""
    deliver(made, 9, ChangeMembership(add=new))
    deliver(made, new, Identity(identity))
    answer(made, new)
    return fire(made, "beat")


# -- §4.1: one server at a time


def test_a_configuration_is_in_force_as_soon_as_it_is_in_the_log() -> None:
    n = settled(n=4)

    effects = deliver(n, 9, ChangeMembership(remove=3))

    assert n.log[-1].command == voters(0, 1, 2)
    assert n.commit_index == 1
    assert set(n.voters) == {0, 1, 2}
    assert receivers(effects, AppendEntries) == [1, 2]


def test_the_new_majority_commits_the_change() -> None:
    n = settled(n=4)
    deliver(n, 9, ChangeMembership(remove=3))

    answer(n, 1)

    assert n.commit_index == 2


def test_a_second_change_waits_until_the_first_is_committed() -> None:
    n = settled(n=5)
    deliver(n, 9, ChangeMembership(remove=4))

    early = deliver(n, 9, ChangeMembership(remove=3))
    answer(n, 1, 2)
    late = deliver(n, 9, ChangeMembership(remove=3))

    assert early == []
    assert set(n.voters) == {0, 1, 2}
    assert late


def test_a_leader_changes_nothing_before_it_has_committed_an_entry_of_its_term() -> None:
    """The bug that Ongaro announced in 2015: two leaders' changes could follow from one another's
    uncommitted ones, and their majorities be apart."""
    n = leader(n=4)

    early = deliver(n, 9, ChangeMembership(remove=3))
    answer(n, 1, 2)
    deliver(n, 9, ChangeMembership(remove=3))

    assert early == []
    assert set(n.voters) == {0, 1, 2}


def test_a_configuration_that_is_overwritten_is_in_force_no_longer() -> None:
    """§4.1: a server must be prepared to fall back to the previous configuration in its log."""
    log = Stored(1, [*entries(1), Entry(1, voters(0, 1))])
    n = node(log=log, term=2)
    assert set(n.voters) == {0, 1}

    deliver(n, 2, AppendEntries(2, 1, 1, (Entry(2, None),), 0, 1))

    assert set(n.voters) == {0, 1, 2}


def test_only_a_leader_acts_on_a_wish() -> None:
    assert deliver(node(), 9, ChangeMembership(remove=1)) == []


def test_the_last_voter_is_not_removed() -> None:
    n = settled(n=1)

    assert deliver(n, 9, ChangeMembership(remove=0)) == []


def test_a_snapshot_tells_who_votes() -> None:
    n = settled(n=4, compact=2)
    deliver(n, 9, ChangeMembership(remove=3))
    answer(n, 1)

    again = node(n=4, snapshot=n.snapshot, log=Stored(n.snapshot.index + 1, [Entry(1, None)]))

    assert n.snapshot.index == 2
    assert set(again.voters) == {0, 1, 2}


# -- §4.1: the caller's configuration decides


def test_a_vote_is_given_to_a_candidate_that_is_no_voter_here() -> None:
    """It may know less than the candidate does."""
    n = node(n=3)

    assert sent(deliver(n, 3, RequestVote(1))) == [Vote(1, True)]


def test_a_new_server_votes_before_it_knows_that_it_is_a_voter() -> None:
    """The thesis adds a fourth server to three, and then one fails: its vote is needed."""
    n = Raft(3, (0, 1, 2), Context(1.0), {"identity": 7})
    start(n)

    assert sent(deliver(n, 0, RequestVote(1))) == [Vote(1, True, identity=7)]


def test_entries_are_taken_from_a_leader_that_is_no_voter_here() -> None:
    n = node(n=3)

    effects = deliver(n, 3, AppendEntries(1, 0, 0, tuple(entries(1)), 0, 1))

    assert sent(effects) == [Appended(1, True, 1, 1)]


def test_votes_of_others_than_voters_do_not_count() -> None:
    n = node(n=5, pre_vote=False)
    fire(n, "election")

    for stranger in (5, 6, 7):
        deliver(n, stranger, Vote(1, True))

    assert n.role == "candidate"


# -- §4.2.1: a new server catches up first


def test_a_learner_is_sent_the_log_and_does_not_count() -> None:
    n = settled(n=2, log=(1,) * 20)
    deliver(n, 9, ChangeMembership(add=2))
    effects = deliver(n, 2, Identity(7))
    list(n.propose(Put("x", 1)))

    effects = fire(n, "beat")
    answer(n, 2)

    assert 2 in receivers(effects, AppendEntries)
    assert set(n.voters) == {0, 1}
    assert n.commit_index == n.last_index - 1


def test_a_learner_that_has_caught_up_becomes_a_voter() -> None:
    n = settled(n=3)

    admit(n, 3, identity=7)

    assert n.log[-1].command == voters(0, 1, 2, n3=7)
    assert n.voters[3] == 7


def test_a_learner_that_lags_remains_one() -> None:
    n = settled(n=3, log=(1,) * 20)
    deliver(n, 9, ChangeMembership(add=3))
    deliver(n, 3, Identity(7))
    deliver(n, 3, Appended(n.term, True, 5, n.round, 7))

    fire(n, "beat")

    assert 3 not in n.voters


def test_a_learner_that_never_answered_remains_one_also_when_the_log_is_short() -> None:
    n = settled(n=3)
    deliver(n, 9, ChangeMembership(add=3))
    deliver(n, 3, Identity(7))

    fire(n, "beat")

    assert 3 not in n.voters


def test_a_learner_is_asked_for_its_identity_until_it_answers() -> None:
    n = settled(n=3)

    first = deliver(n, 9, ChangeMembership(add=3))
    second = fire(n, "beat")

    assert Send(3, AskIdentity(n.term)) in first
    assert Send(3, AskIdentity(n.term)) in second


def test_a_learner_can_be_given_up() -> None:
    n = settled(n=3)
    deliver(n, 9, ChangeMembership(add=3))

    deliver(n, 9, ChangeMembership(remove=3))

    assert n.others == (1, 2)
    assert set(n.next_index) == {1, 2}


# -- §4.2.2: removing the leader


def test_a_leader_that_is_removed_leads_until_that_is_committed() -> None:
    n = settled(n=3)

    deliver(n, 9, ChangeMembership(remove=0))
    before = n.role
    answer(n, 1)
    counted = n.commit_index
    answer(n, 2)

    assert before == "leader"
    assert counted == 1  # of its two voters one is not enough: it does not count itself
    assert n.commit_index == 2
    assert n.role == "follower"


def test_who_is_removed_stands_as_long_as_that_is_not_committed() -> None:
    """Figure 4.6: its log is the longest, so that nobody else could win."""
    log = Stored(1, [*entries(1), Entry(1, voters(1))])
    n = node(n=2, log=log, pre_vote=False)

    fire(n, "election")
    deliver(n, 1, Vote(2, True))

    assert n.role == "leader"


def test_who_is_removed_for_good_stands_no_longer() -> None:
    log = Stored(1, [*entries(1), Entry(1, voters(1, 2))])
    n = node(n=3, log=log)
    deliver(n, 1, AppendEntries(1, 2, 1, (), 2, 1))

    effects = fire(n, "election")

    assert sent(effects) == []


# -- §4.2.3: a removed server disrupts nobody


def test_a_server_that_was_removed_deposes_no_leader() -> None:
    n = node(n=4, term=1)
    deliver(n, 0, AppendEntries(1, 0, 0, (), 0, 1))

    effects = deliver(n, 3, RequestVote(9))

    assert effects == []
    assert n.term == 1
