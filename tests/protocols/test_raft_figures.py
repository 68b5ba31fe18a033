"""The figures of the Raft paper and of Ongaro's thesis, played as they are drawn: each transcript
is all that was said and written. Server S1 of a figure is node 0 here."""

from __future__ import annotations

import pytest
from table import Table, appends, nothing, text

from labkit.protocols.raft.log import Log

# -- figure 7: what logs there can be when the leader on top begins term 8

TOP = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FOLLOWERS = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}
REPAIRS = {
    "a": """
        0: its beat timer runs out
        0 > 1  AppendEntries(term 8, after 10/6: 8; commit 0, round 2)
        1 > 0  Appended(term=8, success=False, index=10, round=2)
        0 > 1  AppendEntries(term 8, after 9/6: 6 8; commit 0, round 2)
        1 writes log 6 8 from 10 on
        1 > 0  Appended(term=8, success=True, index=11, round=2)
    """,
    "b": """
        0: its beat timer runs out
        0 > 2  AppendEntries(term 8, after 10/6: 8; commit 0, round 2)
        2 > 0  Appended(term=8, success=False, index=5, round=2)
        0 > 2  AppendEntries(term 8, after 4/4: 4 5 5 6 6 6 8; commit 0, round 2)
        2 writes log 4 5 5 6 6 6 8 from 5 on
        2 > 0  Appended(term=8, success=True, index=11, round=2)
    """,
    "c": """
        0: its beat timer runs out
        0 > 3  AppendEntries(term 8, after 10/6: 8; commit 0, round 2)
        3 writes log 8 from 11 on
        3 > 0  Appended(term=8, success=True, index=11, round=2)
    """,
    "d": """
        0: its beat timer runs out
        0 > 4  AppendEntries(term 8, after 10/6: 8; commit 0, round 2)
        4 writes log 8 from 11 on
        4 > 0  Appended(term=8, success=True, index=11, round=2)
    """,
    "e": """
        0: its beat timer runs out
        0 > 5  AppendEntries(term 8, after 10/6: 8; commit 0, round 2)
        5 > 0  Appended(term=8, success=False, index=8, round=2)
        0 > 5  AppendEntries(term 8, after 7/5: 6 6 6 8; commit 0, round 2)
        5 > 0  Appended(term=8, success=False, index=4, round=2)
        0 > 5  AppendEntries(term 8, after 3/1: 4 4 5 5 6 6 6 8; commit 0, round 2)
        5 writes log 5 5 6 6 6 8 from 6 on
        5 > 0  Appended(term=8, success=True, index=11, round=2)
    """,
    "f": """
        0: its beat timer runs out
        0 > 6  AppendEntries(term 8, after 10/6: 8; commit 0, round 2)
        6 > 0  Appended(term=8, success=False, index=7, round=2)
        0 > 6  AppendEntries(term 8, after 6/5: 5 6 6 6 8; commit 0, round 2)
        6 > 0  Appended(term=8, success=False, index=4, round=2)
        0 > 6  AppendEntries(term 8, after 3/1: 4 4 5 5 6 6 6 8; commit 0, round 2)
        6 writes log 4 4 5 5 6 6 6 8 from 4 on
        6 > 0  Appended(term=8, success=True, index=11, round=2)
    """,
}


def figure_7() -> Table:
    """Node 0 has been elected; none of its entries has been sent yet."""
    logs = dict(enumerate((TOP, *FOLLOWERS.values())))
    table = Table(7, Log, logs, term=7)
    table.lost = appends()
    table.fire(0, "election")
    table.lost = nothing
    return table


def test_figure_7_c_and_d_have_more_and_do_not_vote_for_the_leader_that_is_elected() -> None:
    table = figure_7()

    assert table.told() == text("""
        0: its election timer runs out
        0 writes term 8, voted_for 0
        0 becomes candidate: term 8
        0 > 1  RequestVote(term=8, last_term=6, last_index=10)
        1 writes term 8, voted_for None
        1 writes term 8, voted_for 0
        0 > 2  RequestVote(term=8, last_term=6, last_index=10)
        2 writes term 8, voted_for None
        2 writes term 8, voted_for 0
        0 > 3  RequestVote(term=8, last_term=6, last_index=10)
        3 writes term 8, voted_for None
        0 > 4  RequestVote(term=8, last_term=6, last_index=10)
        4 writes term 8, voted_for None
        0 > 5  RequestVote(term=8, last_term=6, last_index=10)
        5 writes term 8, voted_for None
        5 writes term 8, voted_for 0
        0 > 6  RequestVote(term=8, last_term=6, last_index=10)
        6 writes term 8, voted_for None
        6 writes term 8, voted_for 0
        1 > 0  Vote(term=8, granted=True)
        2 > 0  Vote(term=8, granted=True)
        3 > 0  Vote(term=8, granted=False)
        4 > 0  Vote(term=8, granted=False)
        5 > 0  Vote(term=8, granted=True)
        0 becomes leader: term 8
        0 writes log 8 from 11 on
        6 > 0  Vote(term=8, granted=True)
    """)


@pytest.mark.case(49)
@pytest.mark.parametrize("case", FOLLOWERS)
def test_figure_7_the_leader_finds_where_the_logs_part_and_makes_them_equal(case: str) -> None:
    """§5.3's optimisation: a round for each term in conflict, and not for each entry."""
    table = figure_7()
    follower = 1 + list(FOLLOWERS).index(case)
    table.away = set(range(1, 7)) - {follower}
    table.forget()

    table.fire(0, "beat")

    assert table.told() == text(REPAIRS[case])
    assert table.nodes[follower].log == table.nodes[0].log


# -- figure 8: an entry of an earlier term is on a majority, and may yet be overwritten


def figure_8_b() -> Table:
    """S1 led term 2 and reached S2; then S5 led term 3, and is alone with its entry. A message
    takes one entry."""
    logs = {0: (1, 2), 1: (1, 2), 2: (1,), 3: (1,), 4: (1, 3)}
    return Table(5, Log, logs, term=3, batch=1)


def figure_8_c() -> Table:
    """S1 leads term 4 and goes on with its entry of term 2, which is on S1, S2 and S3 now."""
    table = figure_8_b()
    table.away = {3, 4}
    table.lost = appends(4)
    table.fire(0, "election")
    table.lost = nothing
    return table


def s5_stands_twice(table: Table) -> None:
    """S1 is dead. In term 4, S2 and S3 have voted for it."""
    table.away = {0}
    table.fire(4, "election")
    table.forget()
    table.fire(4, "election")


def test_figure_8_c_nothing_is_committed_by_counting() -> None:
    table = figure_8_c()

    assert table.told() == text("""
        0: its election timer runs out
        0 writes term 4, voted_for 0
        0 becomes candidate: term 4
        0 > 1  RequestVote(term=4, last_term=2, last_index=2)
        1 writes term 4, voted_for None
        1 writes term 4, voted_for 0
        0 > 2  RequestVote(term=4, last_term=2, last_index=2)
        2 writes term 4, voted_for None
        2 writes term 4, voted_for 0
        1 > 0  Vote(term=4, granted=True)
        2 > 0  Vote(term=4, granted=True)
        0 becomes leader: term 4
        0 writes log 4 from 3 on
        0 > 1  AppendEntries(term 4, after 2/2: nothing; commit 0, round 1)
        0 > 2  AppendEntries(term 4, after 2/2: nothing; commit 0, round 1)
        1 > 0  Appended(term=4, success=True, index=2, round=1)
        2 > 0  Appended(term=4, success=False, index=2, round=1)
        0 > 2  AppendEntries(term 4, after 1/1: 2; commit 0, round 1)
        2 writes log 2 from 2 on
        2 > 0  Appended(term=4, success=True, index=2, round=1)
    """)
    assert [table.nodes[i].term_at(2) for i in (0, 1, 2)] == [2, 2, 2]


def test_figure_8_d_s5_can_be_elected_and_overwrites_it_everywhere() -> None:
    table = figure_8_c()

    s5_stands_twice(table)

    assert table.told() == text("""
        4: its election timer runs out
        4 writes term 5, voted_for 4
        4 becomes candidate: term 5
        4 > 1  RequestVote(term=5, last_term=3, last_index=2)
        1 writes term 5, voted_for None
        1 writes term 5, voted_for 4
        4 > 2  RequestVote(term=5, last_term=3, last_index=2)
        2 writes term 5, voted_for None
        2 writes term 5, voted_for 4
        4 > 3  RequestVote(term=5, last_term=3, last_index=2)
        3 writes term 5, voted_for None
        3 writes term 5, voted_for 4
        1 > 4  Vote(term=5, granted=True)
        2 > 4  Vote(term=5, granted=True)
        4 becomes leader: term 5
        4 writes log 5 from 3 on
        3 > 4  Vote(term=5, granted=True)
        4 > 1  AppendEntries(term 5, after 2/3: nothing; commit 0, round 1)
        4 > 2  AppendEntries(term 5, after 2/3: nothing; commit 0, round 1)
        4 > 3  AppendEntries(term 5, after 2/3: nothing; commit 0, round 1)
        4 > 1  AppendEntries(term 5, after 2/3: 5; commit 0, round 1)
        4 > 2  AppendEntries(term 5, after 2/3: 5; commit 0, round 1)
        4 > 3  AppendEntries(term 5, after 2/3: 5; commit 0, round 1)
        1 > 4  Appended(term=5, success=False, index=2, round=1)
        2 > 4  Appended(term=5, success=False, index=2, round=1)
        3 > 4  Appended(term=5, success=False, index=2, round=1)
        1 > 4  Appended(term=5, success=False, index=2, round=1)
        2 > 4  Appended(term=5, success=False, index=2, round=1)
        3 > 4  Appended(term=5, success=False, index=2, round=1)
        4 > 1  AppendEntries(term 5, after 1/1: 3; commit 0, round 1)
        1 writes log 3 from 2 on
        4 > 2  AppendEntries(term 5, after 1/1: 3; commit 0, round 1)
        2 writes log 3 from 2 on
        4 > 3  AppendEntries(term 5, after 1/1: 3; commit 0, round 1)
        3 writes log 3 from 2 on
        1 > 4  Appended(term=5, success=True, index=2, round=1)
        2 > 4  Appended(term=5, success=True, index=2, round=1)
        3 > 4  Appended(term=5, success=True, index=2, round=1)
        4 > 1  AppendEntries(term 5, after 2/3: 5; commit 0, round 1)
        1 writes log 5 from 3 on
        4 > 2  AppendEntries(term 5, after 2/3: 5; commit 0, round 1)
        2 writes log 5 from 3 on
        4 > 3  AppendEntries(term 5, after 2/3: 5; commit 0, round 1)
        3 writes log 5 from 3 on
        1 > 4  Appended(term=5, success=True, index=3, round=1)
        2 > 4  Appended(term=5, success=True, index=3, round=1)
        4 applies 1 to 3
        3 > 4  Appended(term=5, success=True, index=3, round=1)
    """)


@pytest.mark.case(49)
def test_figure_8_e_an_entry_of_its_own_term_commits_both_and_s5_cannot_win() -> None:
    table = figure_8_c()
    table.forget()

    table.fire(0, "beat")
    committed = table.told()
    s5_stands_twice(table)

    assert committed == text("""
        0: its beat timer runs out
        0 > 1  AppendEntries(term 4, after 2/2: 4; commit 0, round 2)
        1 writes log 4 from 3 on
        0 > 2  AppendEntries(term 4, after 2/2: 4; commit 0, round 2)
        2 writes log 4 from 3 on
        1 > 0  Appended(term=4, success=True, index=3, round=2)
        2 > 0  Appended(term=4, success=True, index=3, round=2)
        0 applies 1 to 3
    """)
    assert table.told() == text("""
        4: its election timer runs out
        4 writes term 5, voted_for 4
        4 becomes candidate: term 5
        4 > 1  RequestVote(term=5, last_term=3, last_index=2)
        1 writes term 5, voted_for None
        4 > 2  RequestVote(term=5, last_term=3, last_index=2)
        2 writes term 5, voted_for None
        4 > 3  RequestVote(term=5, last_term=3, last_index=2)
        3 writes term 5, voted_for None
        3 writes term 5, voted_for 4
        1 > 4  Vote(term=5, granted=False)
        2 > 4  Vote(term=5, granted=False)
        3 > 4  Vote(term=5, granted=True)
    """)
