"""Worked examples of the Raft paper and of Ongaro's thesis: each transcript is all that was said
and written, so that a change of one message shows."""

from __future__ import annotations

from table import Table, elected, text

from labkit.protocols.effects import Message
from labkit.protocols.raft.machine import Append, Put
from labkit.protocols.raft.sessions import ClientRequest
from labkit.protocols.raft.transfer import TransferLeadership

# -- §5.2 and §5.3: from nothing to a command that is applied everywhere


def test_an_election_and_a_command() -> None:
    table = Table(3)

    table.fire(0, "election")
    election = table.told()
    table.tell(0, ClientRequest(1, Put("x", 1)))
    table.fire(0, "beat")

    assert election == text("""
        0: its election timer runs out
        0 > 1  RequestPreVote(term=1, last_term=0, last_index=0)
        0 > 2  RequestPreVote(term=1, last_term=0, last_index=0)
        1 > 0  PreVoted(term=1, granted=True)
        0 writes term 1, voted_for 0
        0 becomes candidate: term 1
        2 > 0  PreVoted(term=1, granted=True)
        0 > 1  RequestVote(term=1)
        1 writes term 1, voted_for None
        1 writes term 1, voted_for 0
        0 > 2  RequestVote(term=1)
        2 writes term 1, voted_for None
        2 writes term 1, voted_for 0
        1 > 0  Vote(term=1, granted=True)
        0 becomes leader: term 1
        0 writes log 1 from 1 on
        2 > 0  Vote(term=1, granted=True)
        0 > 1  AppendEntries(term 1, after 0/0: nothing; commit 0, round 1)
        0 > 2  AppendEntries(term 1, after 0/0: nothing; commit 0, round 1)
        0 > 1  AppendEntries(term 1, after 0/0: 1; commit 0, round 1)
        1 writes log 1 from 1 on
        0 > 2  AppendEntries(term 1, after 0/0: 1; commit 0, round 1)
        2 writes log 1 from 1 on
        1 > 0  Appended(term=1, success=True, index=0, round=1)
        2 > 0  Appended(term=1, success=True, index=0, round=1)
        1 > 0  Appended(term=1, success=True, index=1, round=1)
        0 applies 1
        2 > 0  Appended(term=1, success=True, index=1, round=1)
    """)
    assert table.told() == text("""
        1000 > 0  ClientRequest(serial=1, command=Put(key='x', value=1))
        0 writes log 1 from 2 on
        0 > 1  AppendEntries(term 1, after 1/1: 1; commit 1, round 1)
        1 writes log 1 from 2 on
        1 applies 1
        0 > 2  AppendEntries(term 1, after 1/1: 1; commit 1, round 1)
        2 writes log 1 from 2 on
        2 applies 1
        1 > 0  Appended(term=1, success=True, index=2, round=1)
        0 applies 2
        2 > 0  Appended(term=1, success=True, index=2, round=1)
        0 > 1000  ClientReply(serial=1, done=True)
        0: its beat timer runs out
        0 > 1  AppendEntries(term 1, after 2/1: nothing; commit 2, round 2)
        1 applies 2
        0 > 2  AppendEntries(term 1, after 2/1: nothing; commit 2, round 2)
        2 applies 2
        1 > 0  Appended(term=1, success=True, index=2, round=2)
        2 > 0  Appended(term=1, success=True, index=2, round=2)
    """)


# -- §7: a follower that lacks what the leader has folded into a snapshot


def test_a_snapshot_is_sent_to_a_follower_that_was_away() -> None:
    table = elected(compact=3)
    table.away = {2}
    for serial in (1, 2):
        table.tell(0, ClientRequest(serial, Append("x", "a")))
    table.away = set()
    table.forget()

    table.tell(0, ClientRequest(3, Append("x", "a")))

    assert table.told() == text("""
        1000 > 0  ClientRequest(serial=3, command=Append(key='x', value='a'))
        0 writes log 1 from 4 on
        0 > 1  AppendEntries(term 1, after 3/1: 1; commit 3, round 2)
        1 writes log 1 from 4 on
        1 applies 3
        1 writes snapshot all up to 3/1, log 1 from 4 on, and nothing before
        0 > 2  InstallSnapshot(term 1, all up to 3/1, round 2)
        2 writes snapshot all up to 3/1, log nothing from 4 on, and nothing before
        1 > 0  Appended(term=1, success=True, index=4, round=2)
        0 applies 4
        2 > 0  Appended(term=1, success=True, index=3, round=2)
        0 > 1000  ClientReply(serial=3, done=True, result='aaa')
        0 > 2  AppendEntries(term 1, after 3/1: 1; commit 4, round 2)
        2 writes log 1 from 4 on
        2 applies 4
        2 > 0  Appended(term=1, success=True, index=4, round=2)
    """)
    assert table.nodes[2].machine.values == {"x": "aaa"}


# -- §9.6: a node that was cut off comes back


def test_with_pre_vote_a_node_that_was_away_changes_nobodys_term() -> None:
    table = elected()
    table.away = {2}
    table.fire(2, "election")
    table.fire(2, "election")
    table.away = set()

    table.fire(2, "election")
    table.fire(0, "beat")

    assert table.told() == text("""
        2: its election timer runs out
        2: its election timer runs out
        2: its election timer runs out
        2 > 0  RequestPreVote(term=2, last_term=1, last_index=1)
        2 > 1  RequestPreVote(term=2, last_term=1, last_index=1)
        0 > 2  PreVoted(term=1, granted=False)
        1 > 2  PreVoted(term=1, granted=False)
        0: its beat timer runs out
        0 > 1  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        0 > 2  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        1 > 0  Appended(term=1, success=True, index=1, round=3)
        2 > 0  Appended(term=1, success=True, index=1, round=3)
    """)


def test_without_pre_vote_it_deposes_a_leader_that_did_nothing_wrong() -> None:
    table = elected(pre_vote=False)
    table.away = {2}
    table.fire(2, "election")
    table.fire(2, "election")
    table.away = set()

    table.fire(0, "beat")

    assert table.told() == text("""
        2: its election timer runs out
        2 writes term 2, voted_for 2
        2 becomes candidate: term 2
        2: its election timer runs out
        2 writes term 3, voted_for 2
        2 becomes candidate: term 3
        0: its beat timer runs out
        0 > 1  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        0 > 2  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        1 > 0  Appended(term=1, success=True, index=1, round=3)
        2 > 0  Appended(term=3, success=False, index=0, round=0)
        0 writes term 3, voted_for None
        0 becomes follower: term 3
    """)


# -- §6.2: nobody answers


def test_with_check_quorum_a_leader_that_hears_nobody_steps_down_after_a_time_out() -> None:
    table = elected()
    table.lost = from_others

    while table.nodes[0].leads and table.nodes[0].context.now < 2.0:
        table.wait(0.06)
        table.fire(0, "beat")

    assert table.told() == text("""
        0: its beat timer runs out
        0 > 1  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        0 > 2  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        0: its beat timer runs out
        0 > 1  AppendEntries(term 1, after 1/1: nothing; commit 1, round 4)
        0 > 2  AppendEntries(term 1, after 1/1: nothing; commit 1, round 4)
        0: its beat timer runs out
        0 becomes follower: term 1
    """)


def from_others(sender: int, to: int, message: Message) -> bool:
    return to == 0


# -- §3.10: leadership is handed over


def test_a_transfer_waits_for_the_log_and_is_not_refused_by_who_hears_the_leader() -> None:
    table = elected()
    table.away = {1}
    table.tell(0, ClientRequest(1, Put("x", 1)))
    table.away = set()
    table.forget()

    table.tell(0, TransferLeadership(1))
    table.tell(0, ClientRequest(2, Put("x", 2)))
    table.fire(0, "beat")

    assert table.told() == text("""
        1000 > 0  TransferLeadership(target=1)
        1000 > 0  ClientRequest(serial=2, command=Put(key='x', value=2))
        0: its beat timer runs out
        0 > 1  AppendEntries(term 1, after 1/1: 1; commit 2, round 3)
        1 writes log 1 from 2 on
        1 applies 2
        0 > 2  AppendEntries(term 1, after 2/1: nothing; commit 2, round 3)
        2 applies 2
        1 > 0  Appended(term=1, success=True, index=2, round=3)
        2 > 0  Appended(term=1, success=True, index=2, round=3)
        0 > 1  TimeoutNow(term=1)
        1 writes term 2, voted_for 1
        1 becomes candidate: term 2
        1 > 0  RequestVote(term=2, last_term=1, last_index=2, transfer=True)
        0 writes term 2, voted_for None
        0 becomes follower: term 2
        0 writes term 2, voted_for 1
        1 > 2  RequestVote(term=2, last_term=1, last_index=2, transfer=True)
        2 writes term 2, voted_for None
        2 writes term 2, voted_for 1
        0 > 1  Vote(term=2, granted=True)
        1 becomes leader: term 2
        1 writes log 2 from 3 on
        2 > 1  Vote(term=2, granted=True)
        1 > 0  AppendEntries(term 2, after 2/1: nothing; commit 2, round 1)
        1 > 2  AppendEntries(term 2, after 2/1: nothing; commit 2, round 1)
        1 > 0  AppendEntries(term 2, after 2/1: 2; commit 2, round 1)
        0 writes log 2 from 3 on
        1 > 2  AppendEntries(term 2, after 2/1: 2; commit 2, round 1)
        2 writes log 2 from 3 on
        0 > 1  Appended(term=2, success=True, index=2, round=1)
        2 > 1  Appended(term=2, success=True, index=2, round=1)
        0 > 1  Appended(term=2, success=True, index=3, round=1)
        1 applies 3
        2 > 1  Appended(term=2, success=True, index=3, round=1)
    """)
