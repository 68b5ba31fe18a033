"""Raft's clients by hand: sessions (Ongaro's thesis, §6.3), reads (§6.4), and the client itself."""

from __future__ import annotations

from functools import partial
from typing import Any

from by_hand import answer, leader, node, receivers, sent, settled

from labkit.protocols.effects import Context, Send, Stored, deliver, fire, start
from labkit.protocols.raft.client import Client
from labkit.protocols.raft.machine import Append, CompareAndSet, Get, KeyValue, Put
from labkit.protocols.raft.messages import Appended, AppendEntries, RequestVote
from labkit.protocols.raft.reads import ClientRead
from labkit.protocols.raft.sessions import ClientReply, ClientRequest, Request

MORE = Append("x", "a")


# -- the state machine


def test_the_four_commands() -> None:
    machine = KeyValue()

    results = [
        machine.apply(c)
        for c in (
            *(Put("x", "1"), Get("x"), Append("x", "2"), CompareAndSet("x", "12", "3")),
            *(CompareAndSet("x", "12", "4"), Get("x"), Get("y"), Append("y", "z")),
        )
    ]

    assert results == [None, "1", "12", True, False, "3", None, "z"]


# -- §6.3: a command that is sent again is applied once


def test_a_client_is_answered_when_its_command_is_committed_and_not_before() -> None:
    n = settled()

    before = deliver(n, 1000, ClientRequest(1, MORE))
    after = answer(n, 1)

    assert 1000 not in receivers(before)
    assert Send(1000, ClientReply(1, True, "a")) in after


def test_whoever_does_not_lead_says_who_does() -> None:
    n = node(term=1)
    deliver(n, 2, AppendEntries(1, 0, 0, (), 0, 1))

    assert sent(deliver(n, 1000, ClientRequest(1, MORE))) == [ClientReply(1, False, leader=2)]
    assert sent(deliver(n, 1000, ClientRead(2, Get("x")))) == [ClientReply(2, False, leader=2)]


def test_a_command_that_is_under_way_is_not_begun_again() -> None:
    n = settled()
    deliver(n, 1000, ClientRequest(1, MORE))

    assert deliver(n, 1000, ClientRequest(1, MORE)) == []
    assert n.last_index == 2


def test_a_command_that_is_done_is_answered_again_from_memory() -> None:
    n = settled()
    deliver(n, 1000, ClientRequest(1, MORE))
    answer(n, 1)

    assert deliver(n, 1000, ClientRequest(1, MORE)) == [Send(1000, ClientReply(1, True, "a"))]
    assert n.machine.values == {"x": "a"}


def test_a_command_that_two_leaders_appended_is_applied_once_and_answered_both_times() -> None:
    n = settled()
    for _ in range(2):
        list(n.propose(Request(1000, 1, MORE)))

    effects = answer(n, 1)

    assert n.machine.values == {"x": "a"}
    assert sent(effects, ClientReply) == [ClientReply(1, True, "a")] * 2


def test_a_late_command_of_before_changes_nothing() -> None:
    n = settled()
    for serial in (1, 2):
        deliver(n, 1000, ClientRequest(serial, MORE))
        answer(n, 1)

    assert deliver(n, 1000, ClientRequest(1, MORE)) == []
    assert n.machine.values == {"x": "aa"}


def test_sessions_are_part_of_a_snapshot() -> None:
    n = settled(compact=2)
    deliver(n, 1000, ClientRequest(1, MORE))
    answer(n, 1)
    assert n.snapshot.index == 2

    again = settled(snapshot=n.snapshot, log=Stored(3, []), term=1)

    assert deliver(again, 1000, ClientRequest(1, MORE)) == [Send(1000, ClientReply(1, True, "a"))]


# -- §6.4: reads


def test_a_read_waits_for_a_round_of_answers_and_writes_nothing() -> None:
    n = settled(n=5)
    deliver(n, 1000, ClientRequest(1, MORE))
    answer(n, 1, 2)

    asked = deliver(n, 1001, ClientRead(1, Get("x")))
    first = answer(n, 1)
    second = answer(n, 2)

    assert receivers(asked, AppendEntries) == [1, 2, 3, 4]
    assert sent(first, ClientReply) == []
    assert sent(second, ClientReply) == [ClientReply(1, True, "a")]
    assert n.last_index == 2


def test_answers_to_an_earlier_round_do_not_count() -> None:
    """etcd-io/raft #397: who answered before the read came in may follow another leader by now."""
    n = settled(n=3)
    before = n.round
    deliver(n, 1000, ClientRead(1, Get("x")))

    effects = answer(n, 1, 2, round=before)

    assert sent(effects, ClientReply) == []


def test_the_answer_of_one_follower_twice_is_no_majority() -> None:
    n = settled(n=5)
    deliver(n, 1000, ClientRead(1, Get("x")))

    effects = answer(n, 1, 1, 1)

    assert sent(effects, ClientReply) == []


def test_a_leader_reads_nothing_before_its_first_commit() -> None:
    """It does not know how far its predecessors have committed."""
    n = leader(log=(1, 1))

    effects = deliver(n, 1000, ClientRead(1, Get("x")))
    for follower in (1, 2):  # they follow, and lack what it has
        effects += deliver(n, follower, Appended(n.term, False, 1, n.round))

    assert sent(effects, ClientReply) == []
    assert n.commit_index == 0


def test_a_leader_that_is_deposed_answers_no_read() -> None:
    n = settled()
    deliver(n, 1000, ClientRead(1, Get("x")))

    effects = deliver(n, 1, RequestVote(2, 9, 9, transfer=True))
    late = answer(n, 1, 2)

    assert sent(effects, ClientReply) == [ClientReply(1, False, leader=None)]
    assert late == []


def test_the_refusal_of_an_old_message_is_no_answer_of_today() -> None:
    """The follower refuses what the leader sent in an earlier term of its own; by now it leads
    the follower's term, and the number of the beat must not pass for an answer (mutant m39)."""
    follower = node(me=1, term=5)

    (refusal,) = sent(deliver(follower, 0, AppendEntries(3, 0, 0, (), 0, 99)))

    assert (refusal.success, refusal.round) == (False, 0)


def test_a_single_voter_reads_at_once() -> None:
    n = leader(n=1)

    assert sent(deliver(n, 1000, ClientRead(1, Get("x")))) == [ClientReply(1, True, None)]


# -- the client

ASKS = partial(Client, choose=lambda random, serial: MORE if serial % 2 else Get("x"))


def client() -> Any:
    made = ASKS(1000, (0, 1, 2), Context(1.0), {})
    start(made)
    return made


def test_a_client_numbers_its_commands_and_has_one_under_way() -> None:
    c = client()

    first = fire(c, "next")
    deliver(c, 0, ClientReply(1, True, "a"))
    second = fire(c, "next")

    assert sent(first) == [ClientRequest(1, MORE)]
    assert sent(second) == [ClientRead(2, Get("x"))]


def test_without_an_answer_it_sends_the_same_again() -> None:
    c = client()
    fire(c, "next")

    assert sent(fire(c, "retry")) == [ClientRequest(1, MORE)]


def test_it_follows_the_hint_to_the_leader() -> None:
    c = client()
    fire(c, "next")

    effects = deliver(c, 0, ClientReply(1, False, leader=2))

    assert Send(2, ClientRequest(1, MORE)) in effects


def test_its_history_says_what_is_known_and_what_is_not() -> None:
    c = client()
    fire(c, "next")
    c.context.now = 2.0
    deliver(c, 0, ClientReply(1, True, "a"))
    fire(c, "next")

    done, unknown = c.history

    assert (done.command, done.invoked, done.returned, done.result) == (MORE, 1.0, 2.0, "a")
    assert (unknown.command, unknown.returned) == (Get("x"), None)


def test_an_answer_to_an_earlier_command_is_ignored() -> None:
    c = client()
    fire(c, "next")
    deliver(c, 0, ClientReply(1, True, "a"))
    fire(c, "next")

    assert deliver(c, 0, ClientReply(1, True, "b")) == []
    assert c.history[0].result == "a"
