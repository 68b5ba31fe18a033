"""Failure detectors by hand: what they must do in silence, and after somebody stood still."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from labkit.protocols.effects import Broadcast, Context, Persist, Record, deliver, fire, start
from labkit.protocols.heartbeat import (
    Beat,
    FixedTimeout,
    Heartbeat,
    PhiAccrual,
    log10_of_tail,
)

INTERVAL = 0.05


def regular(detector: Any, beats: int, interval: float = INTERVAL) -> float:
    """Beats like a clock; returns when the last one came."""
    for k in range(1, beats + 1):
        detector.beat(k * interval)
    return beats * interval


def notices_after(detector: Any, last: float) -> float:
    """Milliseconds of silence, at most 5 000."""
    return next((ms for ms in range(5000) if detector.suspects(last + ms / 1000)), 5000)


# -- a fixed time-out


def test_a_time_out_suspects_after_its_silence_and_not_before() -> None:
    detector = FixedTimeout(0.0, timeout=0.2)
    last = regular(detector, 10)
    assert not detector.suspects(last + 0.2)
    assert detector.suspects(last + 0.201)


# -- φ (Hayashibara et al. 2004)


def test_phi_is_minus_log10_of_the_chance_that_the_beat_is_still_to_come() -> None:
    """§4.2 of the paper: φ = 1 is a mistake in ten, φ = 2 one in a hundred. The quantiles of the
    normal distribution are 1.2816 and 2.3263 deviations."""
    detector = PhiAccrual(0.0, floor=0.01)
    last = regular(detector, 1000)
    assert detector.phi(last + INTERVAL) == pytest.approx(math.log10(2), abs=1e-6)
    assert detector.phi(last + INTERVAL + 0.012816) == pytest.approx(1.0, abs=1e-3)
    assert detector.phi(last + INTERVAL + 0.023263) == pytest.approx(2.0, abs=1e-3)


def test_phi_is_finite_and_never_falls_in_silence() -> None:
    """D-S1, from a millisecond to thirty years; Akka's formula raises in Python (d05)."""
    detector = PhiAccrual(0.0)
    last = regular(detector, 100)
    values = [detector.phi(last + 10 ** (k / 20)) for k in range(-60, 181)]
    values += [detector.phi(last + 0.24 + k * 1e-4) for k in range(200)]  # where the formulas meet
    assert all(math.isfinite(v) and v >= 0 for v in values)
    assert all(a <= b for a, b in pairwise(values[:241]))
    assert all(a <= b for a, b in pairwise(values[241:]))


def test_the_two_formulas_of_the_tail_agree() -> None:
    exact = math.log10(math.erfc(30 / math.sqrt(2)) / 2)  # still a number there
    assert log10_of_tail(30.0) == pytest.approx(exact, rel=1e-6)
    assert log10_of_tail(20.0) == pytest.approx(log10_of_tail(19.999999), rel=1e-5)


def test_phi_begins_with_a_guess() -> None:
    detector = PhiAccrual(0.0, guess=0.05)
    assert not detector.suspects(0.08)
    assert detector.suspects(0.3)


def test_the_floor_bears_with_a_node_that_was_perfectly_regular() -> None:
    detector = PhiAccrual(0.0, floor=0.01)
    last = regular(detector, 1000)
    assert not detector.suspects(last + INTERVAL + 0.02)


def test_phi_adapts_to_what_is_usual() -> None:
    quick, slow = PhiAccrual(0.0), PhiAccrual(0.0, guess=0.5)
    a, b = regular(quick, 400, 0.05), regular(slow, 40, 0.5)
    assert quick.suspects(a + 0.4)
    assert not slow.suspects(b + 0.55)


def test_only_the_window_is_remembered() -> None:
    """The sums that are kept up to date are those of the intervals in the window."""
    detector = PhiAccrual(0.0, window=20, threshold=20)
    now = 0.0
    for k in range(500):
        now += 0.04 + 0.02 * (k % 2)
        detector.beat(now)
    last = list(detector.intervals)
    assert len(last) == 20
    assert detector.sum == pytest.approx(sum(last))
    assert detector.squares == pytest.approx(sum(x * x for x in last))


def test_an_outage_does_not_make_it_numb() -> None:
    """d03: after an outage of 30 s a crash is noticed as fast as before."""
    detector = PhiAccrual(0.0)
    last = regular(detector, 100)
    before = notices_after(detector, last)
    detector.beat(last + 30)
    assert notices_after(detector, last + 30) == before


def test_beats_that_lay_unread_teach_nothing() -> None:
    """The observer stood still and now reads forty beats at once: they did not come at once."""
    detector = PhiAccrual(0.0)
    last = regular(detector, 100)
    before = notices_after(detector, last)
    for _ in range(40):
        detector.beat(last + 2, delayed=True)
    assert notices_after(detector, last + 2) == before


@pytest.mark.parametrize("make", [FixedTimeout, PhiAccrual])
def test_an_excuse_shifts_the_silence_and_does_not_forget_it(make: Any) -> None:
    detector = make(0.0)
    last = regular(detector, 100)
    usual = notices_after(detector, last)
    detector.excuse(last + 5.04, stalled=5.0)  # 40 ms of silence were heard
    assert notices_after(detector, last + 5.04) == pytest.approx(usual - 40, abs=1.01)


@pytest.mark.parametrize("make", [FixedTimeout, PhiAccrual])
def test_an_excuse_puts_no_beat_into_the_future(make: Any) -> None:
    detector = make(0.0)
    detector.beat(7.0)  # read on waking, before the late tick
    detector.excuse(7.0, stalled=5.0)
    assert detector.last == 7.0


# -- the protocol, one node by hand


def node(**settings: Any) -> Heartbeat:
    made = Heartbeat(0, (0, 1), Context(), {}, **settings)
    start(made)
    return made


def tick(made: Heartbeat, now: float) -> list[str]:
    """What it says for the record at its tick."""
    made.context.now = now
    return [e.name for e in fire(made, "tick") if isinstance(e, Record)]


def beat(made: Heartbeat, now: float, life: int, serial: int, progress: int = 0) -> list[str]:
    made.context.now = now
    effects = deliver(made, 1, Beat(life, serial, progress))
    return [e.name for e in effects if isinstance(e, Record)]


def ticks(made: Heartbeat, begin: float, end: float) -> list[str]:
    said = []
    for k in range(round((end - begin) / INTERVAL)):
        said += tick(made, begin + (k + 1) * INTERVAL)
    return said


def test_a_life_has_its_number_on_the_disk_before_the_first_beat() -> None:
    first, second = (Heartbeat(0, (0, 1), Context(), s) for s in ({}, {"life": 1}))
    effects = start(second)
    assert (first.life, second.life) == (1, 2)
    assert effects[:2] == [Persist(life=2), Broadcast((1,), Beat(2, 1))]


def test_silence_is_suspected_once_and_taken_back_with_the_next_beat() -> None:
    made = node()
    beat(made, 0.01, life=1, serial=1)
    assert ticks(made, 0.0, 1.0) == ["suspects rank 1"]
    assert beat(made, 1.02, life=1, serial=2) == ["trusts rank 1"]
    assert made.suspected == set()


def test_who_comes_back_and_stands_still_at_once_is_suspected_anew() -> None:
    """It died as a suspect; its next life connects, and is paused before its first beat."""
    made = node()
    beat(made, 0.01, life=1, serial=1)
    ticks(made, 0.0, 1.0)
    made.context.now = 1.0
    assert [e.name for e in fire(made, "trust", 1) if isinstance(e, Record)] == ["trusts rank 1"]
    assert ticks(made, 1.0, 1.15) == []
    assert ticks(made, 1.15, 1.3) == ["suspects rank 1"]
    assert fire(made, "trust", 7) == [], "a connection of no member of this group"


@pytest.mark.parametrize(
    ("life", "serial", "what"),
    [(1, 900, "of an earlier life"), (2, 3, "doubled"), (2, 2, "overtaken")],
)
def test_a_late_beat_revives_nobody(life: int, serial: int, what: str) -> None:
    """d07, D-S2: it was sent before something that is known already."""
    made = node()
    beat(made, 0.01, life=2, serial=3)
    ticks(made, 0.0, 1.0)
    assert beat(made, 1.02, life, serial) == []
    assert made.suspected == {1}
    assert beat(made, 1.03, life=3, serial=1) == ["trusts rank 1"]


def test_a_new_life_brings_no_habits_of_the_old_one() -> None:
    made = node(detector=PhiAccrual)
    for k in range(1, 100):
        beat(made, k * 0.02, life=1, serial=k)
        made.tick_due = made.context.now + INTERVAL
    old = made.watched[1]
    beat(made, 2.0, life=2, serial=1)
    assert made.watched[1] is not old
    assert len(made.watched[1].intervals) == 2  # type: ignore[attr-defined]


def test_an_observer_that_stood_still_convicts_nobody_when_it_goes_on() -> None:
    """D-S4: five seconds late. Whose silence was it?"""
    made = node()
    beat(made, 0.04, life=1, serial=1)
    tick(made, 0.05)
    assert tick(made, 5.0) == []
    assert ticks(made, 5.0, 5.2) == ["suspects rank 1"]  # now it is the other's


def test_an_observer_that_stands_still_again_and_again_notices_a_crash_all_the_same() -> None:
    made = node()
    said, now = [], 0.0
    for _ in range(20):
        said += tick(made, now := now + 0.15)
    assert said == ["suspects rank 1"]


def test_beats_read_before_the_late_tick_count_as_delayed() -> None:
    made = node(detector=PhiAccrual)
    for k in range(1, 100):
        tick(made, k * INTERVAL)
        beat(made, k * INTERVAL + 0.001, life=1, serial=k)
    usual = list(made.watched[1].intervals)  # type: ignore[attr-defined]
    for serial in range(100, 140):
        assert beat(made, 7.0, life=1, serial=serial) == []
    assert tick(made, 7.0) == []
    assert beat(made, 7.0, life=1, serial=140) == []
    assert list(made.watched[1].intervals) == usual  # type: ignore[attr-defined]


def test_a_gray_failure_is_suspected_and_trusted_again_when_the_work_goes_on() -> None:
    """P. Huang et al., HotOS 2017: its beats come from a thread that is well."""
    made = node(stuck=1.0)
    said = []
    for k in range(1, 100):
        now, progress = k * INTERVAL, min(k, 20) if k < 80 else k
        fire(made, "worked", k)
        said += [(k, text) for text in beat(made, now, life=1, serial=k, progress=progress)]
        said += [(k, text) for text in tick(made, now)]
    assert said == [
        (41, "suspects rank 1, which beats and does not work"),
        (80, "trusts rank 1"),
    ]


@pytest.mark.parametrize(
    ("counts", "blamed"), [((7, 6, 7), [1]), ((7, 7, 7), []), ((6, 7, 7), []), ((7, 0, 7), [])]
)
def test_who_waits_for_one_that_hangs_is_not_to_blame(
    counts: tuple[int, int, int], blamed: list[int]
) -> None:
    """In an all-reduce all stand still; only the one that has not come to it is behind."""
    made = Heartbeat(0, (0, 1, 2), Context(), {}, stuck=1.0)
    start(made)
    fire(made, "worked", counts[0])
    for k in range(1, 60):
        made.context.now = k * INTERVAL
        for peer in (1, 2):
            deliver(made, peer, Beat(1, k, counts[peer]))
        fire(made, "tick")
    assert sorted(made.suspected) == blamed


def test_its_own_progress_stands_in_its_beats() -> None:
    made = node()
    fire(made, "worked", 17)
    made.context.now = INTERVAL
    assert Broadcast((1,), Beat(1, 2, 17)) in fire(made, "tick")


def test_a_stall_of_the_observer_is_no_gray_failure_of_the_others() -> None:
    made = node(stuck=1.0)
    fire(made, "worked", 6)
    beat(made, 0.01, life=1, serial=1, progress=5)
    assert beat(made, 9.0, life=1, serial=2, progress=5) == []
    assert tick(made, 9.0) == []


def test_one_that_flaps_is_trusted_only_when_it_has_been_well_for_a_while() -> None:
    """Half a second there, half a second away; with `steady` that is one suspicion and not ten."""

    def flaps(steady: float) -> list[str]:
        made, said, serial = node(steady=steady), [], 0
        for k in range(1, 200):
            now = k * INTERVAL
            if now % 1.0 < 0.5 or now > 8:
                said += beat(made, now, life=1, serial=(serial := serial + 1))
            said += tick(made, now)
        return said

    assert len(flaps(steady=0.0)) == 16
    assert flaps(steady=1.0) == ["suspects rank 1", "trusts rank 1"]


def test_settings_are_bound_with_partial() -> None:
    slow = partial(FixedTimeout, timeout=3.0)
    made = node(detector=slow, interval=1.0)
    assert made.watched[1].timeout == 3.0  # type: ignore[attr-defined]
