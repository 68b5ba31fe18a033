"""Every puzzle can be solved with the faults that it allows, and not without any."""

from __future__ import annotations

from functools import partial

import pytest

from labkit.faults import (
    LEADER,
    At,
    CrashAt,
    Cut,
    Delay,
    DiskError,
    Heal,
    HoldGIL,
    Kill,
    LostWrite,
    Partition,
    Pause,
    Restart,
    Revive,
    Slow,
    WipeDisk,
)
from labkit.protocols.heartbeat import Heartbeat
from labkit.protocols.raft import Raft
from labkit.simulator.attack import attack
from labkit.simulator.puzzles import PUZZLES
from labkit.simulator.scenarios import scenario, scenario_of
from labkit.simulator.schedule import Schedule

SOLUTIONS = {
    "m01": (At(Restart(rank=0), seconds=6.5002),),
    "m03": (
        At(DiskError(rank=2), seconds=11.903),
        At(Revive(), seconds=12.1638),
        At(Cut(source=0, target=1), seconds=14.32),
        At(DiskError(rank=2), seconds=15.1128),
    ),
    "m05": (
        At(Pause(rank=1, seconds=0.424), seconds=0.2077),
        At(Slow(rank=1, factor=20.9), seconds=0.5465),
    ),
    "m07": (At(Partition(groups=((0, 4), (1, 2, 3))), seconds=0.3402),),
    "m09": (
        At(Partition(groups=((LEADER,), (0, 1, 2))), seconds=8.2088),
        At(Heal(), seconds=8.4282),
    ),
    "m15": (
        At(Kill(rank=LEADER), seconds=1.5819),
        At(Revive(), seconds=1.6303),
        At(Partition(groups=((LEADER,), (0, 1, 2))), seconds=2.186),
        At(Kill(rank=2), seconds=2.28),
        At(Kill(rank=LEADER), seconds=2.7663),
    ),
    "m17": (At(Partition(groups=((1, 2), (0,))), seconds=9.2277),),
    "m23": (
        At(Cut(source=0, target=LEADER), seconds=1.5107),
        At(Cut(source=2, target=LEADER), seconds=1.5107),
    ),
    "m29": (At(Partition(groups=((LEADER,), (0, 1, 2))), seconds=8.7282),),
    "m31": (At(Partition(groups=((1,), (0, 1, 2))), seconds=1.9202),),
    "m35": (
        At(Kill(rank=1), seconds=3.3171),
        At(Kill(rank=2), seconds=3.5601),
        At(WipeDisk(rank=0), seconds=3.6116),
    ),
    "m37": (At(Pause(rank=LEADER, seconds=1.191), seconds=6.9495),),
    "p03": (
        At(CrashAt(rank=LEADER, effects=4), seconds=2.0),
        At(Revive(), seconds=3.0),
    ),
    "p07": (
        At(CrashAt(rank=1, effects=2), seconds=16.6656),
        At(CrashAt(rank=LEADER, effects=2), seconds=16.7741),
    ),
    "p11": (At(Cut(source=LEADER, target=2), seconds=2.0),),
    "d07": (
        At(Delay(source=0, target=1, seconds=1.0), seconds=1.0),
        At(Restart(rank=0), seconds=1.5),
        At(Heal(), seconds=1.6),
    ),
    "d13": (At(Pause(rank=1, seconds=1.0), seconds=2.0),),
}


def test_there_is_a_puzzle_for_every_solution() -> None:
    assert set(PUZZLES) == set(SOLUTIONS)
    assert len(PUZZLES) >= 12


@pytest.mark.parametrize("id", SOLUTIONS)
def test_a_puzzle_can_be_solved(id: str) -> None:
    verdict = attack(id, *SOLUTIONS[id])
    assert verdict.won, verdict
    assert verdict.finding is not None
    assert len(verdict.finding.story.splitlines()) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("id", ["m05", "m23"])
def test_without_a_fault_nothing_is_won(id: str) -> None:
    """Not even by these two, which break by themselves with one of the seeds."""
    assert not attack(id).won


def test_too_many_faults_do_not_count() -> None:
    verdict = attack("m01", *[SOLUTIONS["m01"][0]] * 2)
    assert not verdict.won
    assert "this one falls to 1" in str(verdict)


def test_a_disk_that_lies_breaks_the_correct_code_as_well() -> None:
    lie = [At(LostWrite(i), seconds=0.0) for i in range(2)]
    crash = [At(Kill(i), seconds=4.0) for i in range(2)]
    assert not attack("m35", *lie[:1], *crash[:1]).won


def test_an_unknown_puzzle_names_the_known() -> None:
    with pytest.raises(ValueError, match="m01, "):
        attack("m00")


class Trusting(Raft):
    """Votes for whoever asks, as mutant m09 does."""

    def is_current(self, m: object) -> bool:
        return True


BEHIND = (At(Partition(groups=((LEADER,), (0, 1, 2))), seconds=8.2088), At(Heal(), seconds=8.4282))


def test_a_protocol_of_ones_own_is_judged_against_the_invariants() -> None:
    puzzle = PUZZLES["m09"]
    plain = partial(Trusting, batch=3, compact=20, pre_vote=False, check_quorum=False)
    schedules = [puzzle.schedule(seed, BEHIND) for seed in range(10)]

    verdicts = [attack(plain, s, scenario=scenario(puzzle.scenario)) for s in schedules]

    won = [verdict for verdict in verdicts if verdict.won]
    assert won
    assert won[0].finding is not None
    assert won[0].finding.name == "R-S4"


def test_without_a_scenario_it_is_that_of_the_labs_protocol() -> None:
    assert str(attack(Raft, Schedule(seed=3, seconds=1.0))) == "It has survived."
    assert scenario_of(partial(Heartbeat, interval=0.1)).name == "TIMEOUT"
    with pytest.raises(ValueError, match="say which"):
        attack(lambda *arguments: None, Schedule(seed=1))
    with pytest.raises(TypeError, match="takes one schedule"):
        attack(Raft, At(Kill(0), seconds=1.0))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (At(Kill(3), seconds=1.0), "there is no rank 3, but 0 to 2"),
        (At(Kill(0), step=3), "strikes at seconds=…"),
        (At(Kill(0), seconds=float("inf")), "strikes at seconds=…"),
        (At(HoldGIL(0), seconds=1.0), "no fault that the simulator has"),
        (At(Slow(0, factor=0.0), seconds=1.0), "a factor is between"),
        (At(Pause(0, seconds=-1.0), seconds=1.0), "for how many seconds?"),
    ],
)
def test_a_fault_that_cannot_strike_is_refused_with_a_sentence(fault: At, sentence: str) -> None:
    verdict = attack("m09", fault)
    assert not verdict.won
    assert sentence in verdict.sentence
