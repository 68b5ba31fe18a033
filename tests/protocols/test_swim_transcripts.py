"""SWIM as in its paper (A. Das, I. Gupta, A. Motivala, DSN 2002): a transcript is all that four
members say, so that a change of one message shows. Member 0 begins its round with member 3."""

from __future__ import annotations

from table import Table, text

from labkit.protocols.swim import Swim


def members() -> Table:
    return Table(4, kind=Swim, helpers=2)


def test_figure_1_no_ack_comes_and_helpers_ping() -> None:
    """Figure 1: the way between 0 and 3 is broken; 2 and 1 ping 3 for 0 and hand its acks on."""
    table = members()
    table.lost = lambda sender, to, message: {sender, to} == {0, 3}

    table.fire(0, "period")
    table.fire(0, "timeout")
    table.fire(0, "period")

    assert table.told() == text("""
        0: its period timer runs out
        0: its timeout timer runs out
        0 > 2  ping-req 1: 3
        0 > 1  ping-req 1: 3
        2 > 3  ping 1 of 0
        1 > 3  ping 1 of 0
        3 > 2  ack 1 of 0
        3 > 1  ack 1 of 0
        2 > 0  ack 1 of 0
        1 > 0  ack 1 of 0
        0: its period timer runs out
        0 > 1  ping 2 of 0
        1 > 0  ack 2 of 0
    """)


def suspected() -> Table:
    """Member 3 is away: 0 has suspected it, and 1 has heard of that."""
    table = members()
    table.away = {3}
    table.fire(0, "period")
    table.fire(0, "timeout")
    table.fire(0, "period")
    return table


def test_a_suspicion_travels_on_pings_and_acks() -> None:
    """§4.1 and §4.2: without an ack through helpers either, 3 is suspected, not yet declared."""
    table = suspected()
    table.fire(2, "period")

    assert table.told() == text("""
        0: its period timer runs out
        0: its timeout timer runs out
        0 > 2  ping-req 1: 3
        0 > 1  ping-req 1: 3
        0: its period timer runs out
        0 suspects rank 3: peer 3
        0 > 1  ping 2 of 0; 3 is suspect in incarnation 0, says 0
        1 suspects rank 3: peer 3
        1 > 0  ack 2 of 0; 3 is suspect in incarnation 0, says 0
        2: its period timer runs out
        2 > 0  ping 1 of 2
        0 > 2  ack 1 of 2; 3 is suspect in incarnation 0, says 0
        2 suspects rank 3: peer 3
    """)


def test_a_suspicion_is_refuted_with_a_higher_incarnation() -> None:
    """§4.2: 3 hears of it with the next ping, writes its new incarnation down, and answers with it;
    what 0 says of the old one after that convinces nobody."""
    table = suspected()
    table.fire(2, "period")
    table.fire(2, "period")
    table.forget()
    table.away = set()

    table.fire(2, "period")
    table.fire(2, "period")
    table.fire(2, "period")

    assert table.told() == text("""
        2: its period timer runs out
        2 > 3  ping 3 of 2; 3 is suspect in incarnation 0, says 0
        3 writes incarnation 1
        3 > 2  ack 3 of 2; 3 is alive in incarnation 1
        2 trusts rank 3: peer 3
        2: its period timer runs out
        2 > 0  ping 4 of 2; 3 is alive in incarnation 1
        0 trusts rank 3: peer 3
        0 > 2  ack 4 of 2; 3 is alive in incarnation 1
        2: its period timer runs out
        2 > 1  ping 5 of 2; 3 is alive in incarnation 1
        1 trusts rank 3: peer 3
        1 > 2  ack 5 of 2; 3 is alive in incarnation 1
    """)
    assert [table.nodes[i].belief(3) for i in (0, 1, 2)] == [(1, 0)] * 3


def test_a_suspicion_that_runs_out_is_a_verdict_and_a_new_life_overrules_it() -> None:
    """§4.2. Otherwise than in the paper a member may come back: its disk gives it an incarnation in
    which nobody has declared it faulty."""
    table = suspected()
    table.wait(24.0)
    table.forget()

    table.fire(0, "suspicion", 3)
    table.fire(0, "period")
    verdict = table.told()
    table.away = set()
    table.start(3)
    table.fire(3, "period")
    table.fire(1, "period")

    assert verdict == text("""
        0: its suspicion timer of 3 runs out
        0 declares rank 3 faulty: peer 3
        0: its period timer runs out
        0 > 2  ping 3 of 0; 3 is faulty in incarnation 0
        2 declares rank 3 faulty: peer 3
        2 > 0  ack 3 of 0; 3 is faulty in incarnation 0
    """)
    assert table.told() == text("""
        3 starts
        3 writes incarnation 1
        3: its period timer runs out
        3 > 1  ping 1 of 3; 3 is alive in incarnation 1
        1 trusts rank 3: peer 3
        1 > 3  ack 1 of 3; 3 is alive in incarnation 1
        1: its period timer runs out
        1 > 0  ping 1 of 1; 3 is alive in incarnation 1
        0 trusts rank 3: peer 3
        0 > 1  ack 1 of 1; 3 is alive in incarnation 1
    """)


def test_who_finds_out_by_itself_bears_a_suspicion_out() -> None:
    """Lifeguard (2018, §IV): 2 says so in its own name, and the suspicion of 0 ends sooner."""
    table = suspected()
    for _ in range(3):
        table.fire(2, "period")
    before = table.nodes[0].suspicions[3].due
    table.forget()

    table.fire(2, "period")

    assert table.told() == text("""
        2: its period timer runs out
        2 > 0  ping 4 of 2; 3 is suspect in incarnation 0, says 2
        0 > 2  ack 4 of 2; 3 is suspect in incarnation 0, says 2
    """)
    assert table.nodes[0].suspicions[3].due < before
