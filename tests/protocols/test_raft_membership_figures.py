"""Changes of the voters as Ongaro's thesis draws them, and the bug that he found in them later. The
transcripts are all that was said and written; server S1 of a figure is node 0 here."""

from __future__ import annotations

from table import Table, appends, nothing, text

from labkit.protocols.raft.membership import ChangeMembership

# -- the bug in single-server changes (Ongaro on raft-dev, July 2015), and its mend


def test_2015_two_leaders_do_not_begin_changes_that_have_no_server_in_common() -> None:
    """S1, leader of term 1, is about to add S5, and only S5 knows. S2, leader of term 2, is to
    remove S1. Had it begun at once, {S2, S3} would be a majority of its three, and {S1, S4, S5}
    one of S1's five. So it first commits an entry of its term, and then S4 refuses S1."""
    table = Table(4, spares=1)
    table.fire(0, "election")
    table.tell(0, ChangeMembership(add=4))
    table.away = {1, 2, 3}
    table.fire(0, "beat")
    table.forget()

    table.fire(0, "beat")
    added = table.told()
    table.away, table.lost = {0, 4}, appends()
    table.wait(1.0)
    table.fire(1, "election")
    table.forget()
    table.tell(1, ChangeMembership(remove=0))
    too_early = table.told()
    table.lost = nothing
    table.fire(1, "beat")
    table.away = {0, 3, 4}
    table.tell(1, ChangeMembership(remove=0))
    removed = table.told()
    table.away = {1, 2}
    table.start(0)
    table.forget()
    table.wait(1.0)
    table.fire(0, "election")
    refused = table.told()

    assert added == text("""
        0: its beat timer runs out
        0 writes log 1={0,1,2,3,4} from 2 on
        0 > 4  AppendEntries(term 1, after 1/1: nothing; commit 1, round 3)
        0 > 4  AppendEntries(term 1, after 1/1: 1={0,1,2,3,4}; commit 1, round 3)
        4 writes log 1={0,1,2,3,4} from 2 on
        4 > 0  Appended(term=1, success=True, index=1, round=3, identity=40)
        4 > 0  Appended(term=1, success=True, index=2, round=3, identity=40)
    """)
    assert too_early == text("""
        1000 > 1  ChangeMembership(remove=0)
    """)
    assert removed == text("""
        1: its beat timer runs out
        1 > 2  AppendEntries(term 2, after 1/1: 2; commit 0, round 2)
        2 writes log 2 from 2 on
        1 > 3  AppendEntries(term 2, after 1/1: 2; commit 0, round 2)
        3 writes log 2 from 2 on
        2 > 1  Appended(term=2, success=True, index=2, round=2)
        3 > 1  Appended(term=2, success=True, index=2, round=2)
        1 applies 1 to 2
        1000 > 1  ChangeMembership(remove=0)
        1 writes log 2={1,2,3} from 3 on
        1 > 2  AppendEntries(term 2, after 2/2: 2={1,2,3}; commit 2, round 2)
        2 writes log 2={1,2,3} from 3 on
        2 applies 1 to 2
        2 > 1  Appended(term=2, success=True, index=3, round=2)
        1 applies 3
        1 has a new configuration: voters [1, 2, 3]
    """)
    assert refused == text("""
        0: its election timer runs out
        0 > 3  RequestPreVote(term=2, last_term=1, last_index=2)
        0 > 4  RequestPreVote(term=2, last_term=1, last_index=2)
        3 > 0  PreVoted(term=2, granted=False)
        0 writes term 2, voted_for None
        4 > 0  PreVoted(term=2, granted=True, identity=40)
    """)


# -- the thesis, figure 4.6: a server that has removed itself may have to lead


def test_figure_4_6_only_the_removed_server_can_win_until_its_removal_is_committed() -> None:
    table = Table(2)
    table.fire(0, "election")
    table.away = {1}
    table.tell(0, ChangeMembership(remove=0))
    table.away = set()
    table.start(0)
    table.wait(1.0)
    table.forget()

    table.fire(1, "election")
    in_vain = table.told()
    table.fire(0, "election")

    assert in_vain == text("""
        1: its election timer runs out
        1 > 0  RequestPreVote(term=2, last_term=1, last_index=1)
        0 > 1  PreVoted(term=1, granted=False)
    """)
    assert table.told() == text("""
        0: its election timer runs out
        0 > 1  RequestPreVote(term=2, last_term=1, last_index=2)
        1 > 0  PreVoted(term=2, granted=True)
        0 writes term 2, voted_for 0
        0 becomes candidate: term 2
        0 > 1  RequestVote(term=2, last_term=1, last_index=2)
        1 writes term 2, voted_for None
        1 writes term 2, voted_for 0
        1 > 0  Vote(term=2, granted=True)
        0 becomes leader: term 2
        0 writes log 2 from 3 on
        0 > 1  AppendEntries(term 2, after 2/1: nothing; commit 0, round 1)
        0 > 1  AppendEntries(term 2, after 2/1: 2; commit 0, round 1)
        1 > 0  Appended(term=2, success=False, index=2, round=1)
        1 > 0  Appended(term=2, success=False, index=2, round=1)
        0 > 1  AppendEntries(term 2, after 1/1: 1={1} 2; commit 0, round 1)
        1 writes log 1={1} 2 from 2 on
        1 > 0  Appended(term=2, success=True, index=3, round=1)
        0 applies 1 to 2
        0 has a new configuration: voters [1]
        0 becomes follower: term 2
        0 applies 3
    """)


# -- the thesis, figure 4.7: a server that was removed and does not know


def test_figure_4_7_who_hears_the_leader_refuses_a_removed_server_with_a_current_log() -> None:
    """PreVote alone would not help: the removal has reached nobody yet."""
    table = Table(4)
    table.fire(3, "election")
    table.fire(3, "beat")
    table.away = {0, 1, 2}
    table.tell(3, ChangeMembership(remove=0))
    table.away = set()
    table.forget()

    table.fire(0, "election")
    refused = table.told()
    table.fire(3, "beat")

    assert refused == text("""
        0: its election timer runs out
        0 > 1  RequestPreVote(term=2, last_term=1, last_index=1)
        0 > 2  RequestPreVote(term=2, last_term=1, last_index=1)
        0 > 3  RequestPreVote(term=2, last_term=1, last_index=1)
        1 > 0  PreVoted(term=1, granted=False)
        2 > 0  PreVoted(term=1, granted=False)
        3 > 0  PreVoted(term=1, granted=False)
    """)
    assert table.told() == text("""
        3: its beat timer runs out
        3 > 1  AppendEntries(term 1, after 1/1: 1={1,2,3}; commit 1, round 3)
        1 writes log 1={1,2,3} from 2 on
        3 > 2  AppendEntries(term 1, after 1/1: 1={1,2,3}; commit 1, round 3)
        2 writes log 1={1,2,3} from 2 on
        1 > 3  Appended(term=1, success=True, index=2, round=3)
        3 applies 2
        3 has a new configuration: voters [1, 2, 3]
        2 > 3  Appended(term=1, success=True, index=2, round=3)
    """)
