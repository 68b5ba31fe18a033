"""SWIM by hand: one member, and what it says to whom (A. Das et al., DSN 2002)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from labkit.protocols.effects import (
    Context,
    Effect,
    Persist,
    Record,
    Send,
    SetTimer,
    deliver,
    fire,
    start,
)
from labkit.protocols.swim import ALIVE, FAULTY, SUSPECT, Ack, Fact, Ping, PingReq, Swim

MEMBERS = (0, 1, 2, 3, 4)
SHORTEST, LONGEST = 4.0, 24.0
"""Seconds that a suspicion lasts among five members, with all confirmations and with none."""


def member(me: int = 0, members: tuple[int, ...] = MEMBERS, **stored: Any) -> Swim:
    made = Swim(me, members, Context(0.0, seed=1), stored)
    start(made)
    return made


def at(made: Swim, now: float) -> Swim:
    made.context.now = now
    return made


def period(made: Swim) -> list[Effect]:
    """Its next protocol period begins, on time."""
    return fire(at(made, made.period_due), "period")


def hear(made: Swim, *facts: Fact, sender: int = 4) -> list[Effect]:
    """An ack of no probe of its own carries the news."""
    return deliver(made, sender, Ack(0, made.me, facts))


def said(effects: list[Effect]) -> list[tuple[str, int]]:
    return [(e.kind, e.data["peer"]) for e in effects if isinstance(e, Record)]


def sent(effects: list[Effect], kind: type) -> list[tuple[int, Any]]:
    return [(e.to, e.message) for e in effects if isinstance(e, Send) and type(e.message) is kind]


def timer(effects: list[Effect], name: str) -> float | None:
    return next((e.after for e in effects if isinstance(e, SetTimer) and e.timer == name), None)


def suspect(who: int, accuser: int, incarnation: int = 0) -> Fact:
    return Fact(who, incarnation, SUSPECT, accuser)


# -- the failure detector (§3.1)


def test_a_period_pings_one_member() -> None:
    effects = period(member())
    ((target, ping),) = sent(effects, Ping)
    assert target in (1, 2, 3, 4)
    assert (ping.serial, ping.origin) == (1, 0)
    assert timer(effects, "timeout") == pytest.approx(0.3)
    assert timer(effects, "period") == pytest.approx(1.0)


def test_a_ping_is_answered_with_its_number() -> None:
    effects = deliver(member(), 3, Ping(17, 3))
    assert sent(effects, Ack) == [(3, Ack(17, 3))]


def test_without_an_ack_others_are_asked_to_ping() -> None:
    made = member()
    ((target, _),) = sent(period(made), Ping)
    asked = sent(fire(made, "timeout"), PingReq)
    assert len(asked) == 3
    assert {to for to, _ in asked} == set(MEMBERS) - {0, target}
    assert all(m.target == target and m.serial == 1 for _, m in asked)


def test_with_an_ack_nobody_is_asked_and_nobody_suspected() -> None:
    made = member()
    ((target, ping),) = sent(period(made), Ping)
    deliver(made, target, Ack(ping.serial, 0))
    assert fire(made, "timeout") == []
    assert said(period(made)) == []


def test_a_helper_pings_for_another_and_hands_the_ack_on() -> None:
    """Without remembering anything: the number and the origin are in the messages."""
    helper = member(me=2)
    ((target, ping),) = sent(deliver(helper, 0, PingReq(3, 17)), Ping)
    assert (target, ping.serial, ping.origin) == (3, 17, 0)
    ack = sent(deliver(member(me=3), 2, ping), Ack)
    assert ack == [(2, Ack(17, 0))]
    assert sent(deliver(helper, 3, ack[0][1]), Ack) == [(0, Ack(17, 0))]


def test_an_ack_through_a_helper_counts() -> None:
    made = member()
    ((target, ping),) = sent(period(made), Ping)
    helper = next(m for m in MEMBERS if m not in (0, target))
    deliver(made, helper, Ack(ping.serial, 0))
    assert said(period(made)) == []


def test_an_ack_of_an_earlier_probe_does_not_count() -> None:
    made = member()
    period(made)
    ((target, _),) = sent(period(made), Ping)
    deliver(made, target, Ack(1, 0))
    assert ("suspect", target) in said(period(made))


def test_whoever_answers_in_no_way_is_suspected_at_the_end_of_the_period() -> None:
    made = member()
    ((target, _),) = sent(period(made), Ping)
    fire(made, "timeout")
    assert said(period(made)) == [("suspect", target)]


@pytest.mark.parametrize("n", [2, 3, 5, 10, 64, 97])
def test_each_has_its_turn_in_every_round(n: int) -> None:
    """§4.3: round robin in a random order, which makes the detection time bounded."""
    made = member(members=tuple(range(n)))
    rounds = [[made.next_target() for _ in range(n - 1)] for _ in range(20)]
    assert all(sorted(r) == list(range(1, n)) for r in rounds)
    assert n < 5 or len({tuple(r) for r in rounds}) > 10


def test_one_member_alone_does_nothing() -> None:
    assert start(Swim(0, (0,), Context(), {})) == [Persist(incarnation=0)]


# -- suspicion (§4.2)


def test_a_suspicion_that_nobody_refutes_becomes_a_verdict() -> None:
    made = member()
    effects = hear(made, suspect(2, accuser=1))
    assert said(effects) == [("suspect", 2)]
    assert timer(effects, "suspicion") == pytest.approx(LONGEST)
    assert said(fire(at(made, LONGEST), "suspicion", 2)) == [("lost", 2)]
    assert made.alive() == [0, 1, 3, 4]


def test_alive_of_a_higher_incarnation_refutes() -> None:
    made = member()
    hear(made, suspect(2, accuser=1))
    assert said(hear(made, Fact(2, 1, ALIVE))) == [("trust", 2)]
    assert fire(at(made, LONGEST), "suspicion", 2) == []


RANK = [Fact(2, i, status, 1) for i in range(3) for status in (ALIVE, SUSPECT, FAULTY)]


@pytest.mark.parametrize("after", RANK)
@pytest.mark.parametrize("before", RANK)
def test_the_order_of_what_is_believed(before: Fact, after: Fact) -> None:
    """D-S2. §4.2: suspect i beats alive j when i >= j, and alive i beats suspect j when i > j.
    Otherwise than there, a faulty member comes back with a higher incarnation."""
    made = member()
    hear(made, before)
    hear(made, after)
    i, j = after.incarnation, before.incarnation
    wins = i > j or (i == j and after.status > before.status)
    winner = after if wins else before
    assert made.belief(2) == (winner.incarnation, winner.status)


def test_who_is_suspected_refutes_with_a_higher_incarnation_durable_before_it_is_told() -> None:
    made = member()
    effects = deliver(made, 3, Ping(5, 3, (suspect(0, accuser=3),)))
    assert effects == [Persist(incarnation=1), Send(3, Ack(5, 3, (Fact(0, 1, ALIVE),)))]
    effects = deliver(made, 3, Ping(6, 3, (suspect(0, accuser=3),)))  # the same once more
    assert effects == [Send(3, Ack(6, 3, (Fact(0, 1, ALIVE),)))]


def test_a_refutation_that_somebody_missed_is_told_again() -> None:
    """The halves of a parted network: the news are told out when they meet again."""
    made = member(incarnation=6)
    made.news.clear()
    effects = deliver(made, 3, Ping(5, 3, (Fact(0, 2, FAULTY),)))
    assert effects == [Send(3, Ack(5, 3, (Fact(0, 7, ALIVE),)))]


def test_another_life_has_another_incarnation() -> None:
    assert member().incarnation == 0
    made = Swim(0, MEMBERS, Context(), {"incarnation": 3})
    assert start(made)[0] == Persist(incarnation=4)
    assert made.tell(1) == (Fact(0, 4, ALIVE),)


def test_a_suspicion_is_of_the_incarnation_that_was_pinged() -> None:
    """It was restarted while the ping was under way: the new life has not been asked."""
    made = member()
    ((target, _),) = sent(period(made), Ping)
    hear(made, Fact(target, 1, ALIVE))
    assert said(period(made)) == []
    assert made.belief(target) == (1, ALIVE)


# -- news (§4.1)


def test_news_are_told_some_times_and_then_no_more() -> None:
    made = member()
    hear(made, Fact(2, 1, ALIVE))
    told = 0
    while made.tell(1):
        told += 1
    assert told == math.ceil(3 * math.log(6))


def test_what_was_told_least_goes_first_and_messages_stay_short() -> None:
    made = member(members=tuple(range(40)))
    hear(made, *(Fact(m, 1, ALIVE) for m in range(1, 13)), sender=20)
    first, second = made.tell(20), made.tell(20)
    assert len(first) == len(second) == 8
    assert {f.member for f in first[:4]} | {f.member for f in second[:4]} >= {9, 10, 11, 12}


def test_who_is_suspected_hears_of_it_whenever_it_is_written_to() -> None:
    """Lifeguard's buddy system: also when the news are told out."""
    made = member()
    hear(made, suspect(2, accuser=1))
    made.news.clear()
    assert made.tell(2) == (suspect(2, accuser=1),)
    assert made.tell(3) == ()


def test_a_faulty_member_is_pinged_on_and_told() -> None:
    made = member()
    hear(made, Fact(2, 0, FAULTY))
    pings = [ping for _ in range(4) for ping in sent(period(made), Ping)]
    ((_, ping),) = [(to, m) for to, m in pings if to == 2]
    assert Fact(2, 0, FAULTY) in ping.facts


# -- Lifeguard: confirmations, and doubts about itself


def test_confirmations_shorten_a_suspicion_and_are_told_on() -> None:
    made = member()
    hear(made, suspect(2, accuser=1))
    effects = hear(at(made, 1.0), suspect(2, accuser=3))
    assert timer(effects, "suspicion") == pytest.approx(LONGEST - 1 - 10.0)  # log 2 / log 4 = 1/2
    assert made.tell(4) == (suspect(2, accuser=3),)
    hear(made, suspect(2, accuser=4))
    hear(made, suspect(2, accuser=0))
    assert made.suspicions[2].due == pytest.approx(SHORTEST)


def test_an_accuser_counts_once() -> None:
    """d09."""
    made = member()
    hear(made, suspect(2, accuser=1))
    for _ in range(5):
        assert hear(made, suspect(2, accuser=1)) == []
    assert made.suspicions[2].due == pytest.approx(LONGEST)


def test_its_own_probe_bears_a_suspicion_out() -> None:
    made = member()
    for m in (1, 2, 3, 4):
        hear(made, suspect(m, accuser=9))
    ((target, _),) = sent(period(made), Ping)
    period(made)
    assert made.suspicions[target].accusers == [9, 0]


def test_confirmations_beyond_the_needed_ones_change_nothing() -> None:
    made = member(members=tuple(range(20)))
    for accuser in range(3, 12):
        hear(made, suspect(2, accuser=accuser))
    assert len(made.suspicions[2].accusers) == 4


@pytest.mark.parametrize(("n", "longest"), [(2, 4.0), (3, 24.0), (1000, 72.0)])
def test_a_suspicion_lasts_as_long_as_news_take(n: int, longest: float) -> None:
    """4 · log10 n periods at least, and six times that. With two members nobody can confirm."""
    made = Swim(0, tuple(range(n)), Context(), {})
    assert made.patience(1) == pytest.approx(longest)
    assert made.patience(4) == pytest.approx(4 * max(1, math.log10(n)))


def test_a_member_that_stood_still_suspects_nobody() -> None:
    made = member()
    period(made)
    fire(made, "timeout")
    assert said(fire(at(made, made.period_due + 3.0), "period")) == []


def test_a_suspicion_that_ran_out_while_it_stood_still_gets_more_time() -> None:
    """d21: the refutation may lie unread."""
    made = member()
    hear(made, suspect(2, accuser=1))
    effects = fire(at(made, LONGEST + 3.0), "suspicion", 2)
    assert (said(effects), timer(effects, "suspicion")) == ([], SHORTEST)
    assert said(fire(at(made, LONGEST + 3.0 + SHORTEST), "suspicion", 2)) == [("lost", 2)]


def test_who_misses_acks_takes_more_time_until_acks_come() -> None:
    made = member()
    for _ in range(3):
        period(made)
    effects = period(made)
    assert timer(effects, "timeout") == pytest.approx(4 * 0.3)
    assert timer(effects, "period") == pytest.approx(4 * 1.0)
    deliver(made, 1, Ack(made.serial, 0))
    assert timer(period(made), "period") == pytest.approx(3 * 1.0)


def test_a_faulty_member_is_no_sign_of_its_own_bad_health() -> None:
    made = member()
    hear(made, *(Fact(m, 0, FAULTY) for m in (1, 2, 3, 4)))
    for _ in range(5):
        period(made)
    assert made.health == 0


# -- generations


def test_a_generation_ends_when_a_member_goes_or_comes_back() -> None:
    """d11, M-L1: suspected and refuted, again and again, is one generation."""
    made = member()
    for i in range(10):
        hear(made, suspect(2, accuser=1, incarnation=i))
        hear(made, Fact(2, i + 1, ALIVE))
    assert made.generation == 0
    hear(made, Fact(2, 10, FAULTY))
    hear(made, Fact(2, 10, FAULTY))
    hear(made, Fact(2, 11, ALIVE))
    assert made.generation == 2


def test_what_a_member_keeps_does_not_grow_with_the_members() -> None:
    made = Swim(0, tuple(range(10_000)), Context(), {})
    start(made)
    for _ in range(50):
        ((target, ping),) = sent(period(made), Ping)
        deliver(made, target, Ack(ping.serial, 0))
    assert not made.beliefs
    assert not made.news
    assert not hasattr(made, "peers")
