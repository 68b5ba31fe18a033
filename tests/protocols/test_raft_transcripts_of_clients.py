"""Sessions and reads of Ongaro's thesis (§6.3, §6.4): each transcript is all that was said and
written."""

from __future__ import annotations

from table import CLIENT, elected, nothing, text

from labkit.protocols.effects import Message
from labkit.protocols.raft.machine import Append, Get, Put
from labkit.protocols.raft.reads import ClientRead
from labkit.protocols.raft.sessions import ClientReply, ClientRequest

# -- §6.3: a command that was committed, and whose answer was lost


def test_a_command_that_is_sent_again_to_the_next_leader_is_applied_once() -> None:
    table = elected()
    command = ClientRequest(1, Append("x", "a"))
    table.lost = replies
    table.tell(0, command)
    table.away, table.lost = {0}, nothing
    table.wait(1.0)
    table.fire(1, "election")
    table.forget()

    table.tell(1, command)

    assert table.told() == text("""
        1000 > 1  ClientRequest(serial=1, command=Append(key='x', value='a'))
        1 > 1000  ClientReply(serial=1, done=True, result='a')
    """)
    assert table.nodes[1].machine.values == {"x": "a"}


def replies(sender: int, to: int, message: Message) -> bool:
    return isinstance(message, ClientReply)


# -- §6.4: reads without an entry in the log


def test_a_read_takes_one_round_of_beats() -> None:
    table = elected()
    table.tell(0, ClientRequest(1, Put("x", 1)))
    table.forget()

    table.tell(0, ClientRead(2, Get("x")))

    assert table.told() == text("""
        1000 > 0  ClientRead(serial=2, command=Get(key='x'))
        0 > 1  AppendEntries(term 1, after 2/1: nothing; commit 2, round 3)
        1 applies 2
        0 > 2  AppendEntries(term 1, after 2/1: nothing; commit 2, round 3)
        2 applies 2
        1 > 0  Appended(term=1, success=True, index=2, round=3)
        2 > 0  Appended(term=1, success=True, index=2, round=3)
        0 > 1000  ClientReply(serial=2, done=True, result=1)
    """)


def test_a_leader_that_does_not_know_that_it_is_deposed_gives_no_stale_answer() -> None:
    table = elected()
    table.away = {0}
    table.wait(1.0)
    table.fire(1, "election")
    table.tell(1, ClientRequest(1, Put("x", "new")), CLIENT + 1)
    table.forget()

    table.away = {1, 2}
    table.tell(0, ClientRead(2, Get("x")))
    asked = table.told()
    table.away = set()
    table.fire(1, "beat")

    assert asked == text("""
        1000 > 0  ClientRead(serial=2, command=Get(key='x'))
    """)
    assert table.told() == text("""
        1: its beat timer runs out
        1 > 0  AppendEntries(term 2, after 1/1: 2 2; commit 3, round 2)
        0 writes term 2, voted_for None
        0 becomes follower: term 2
        0 writes log 2 2 from 2 on
        0 applies 2 to 3
        1 > 2  AppendEntries(term 2, after 3/2: nothing; commit 3, round 2)
        2 applies 3
        0 > 1000  ClientReply(serial=2, done=False)
        0 > 1  Appended(term=2, success=True, index=3, round=2)
        2 > 1  Appended(term=2, success=True, index=3, round=2)
    """)
