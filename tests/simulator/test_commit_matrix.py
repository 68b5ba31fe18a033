"""The fault matrix of two-phase commit: eight faults, each at six points of a transaction.

Q0 before anybody is asked; Q1 a shard is written, no vote on its way; Q2 all have voted yes, and
are in doubt; Q3 the decision is durable and nobody has been told; Q4 some have been told; Q5 all
have acknowledged. A crash is at exactly one effect; what a link holds back is cut.

All safety invariants are checked in every cell after every event.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stage import Stage

from labkit.faults import CrashAt, DiskError, Duplicate, Heal, Kill, Partition
from labkit.protocols.two_phase_commit.replicated import AbortUndecided, Decide

POINTS = ("Q0", "Q1", "Q2", "Q3", "Q4", "Q5")
A, B, C = 1, 2, 3  # the participants


def reach(stage: Stage, q: str) -> None:
    """Holds a transaction at a point, by cutting the links of what comes next."""
    if q == "Q0":
        stage.cut((0,), (A, B, C)).until(lambda: stage.votes == 0)
    if q in ("Q1", "Q2"):
        stage.cut((A, B, C), (0,)).until(lambda: stage.prepared(*(A,) if q == "Q1" else (A, B, C)))
    if q == "Q3":
        stage.until(stage.prepared).cut((0,), (A, B, C)).until(lambda: stage.decided)
    if q == "Q4":
        stage.until(stage.prepared).cut((0,), (B, C)).until(lambda: stage.ends()[A] is True)
    if q == "Q5":
        stage.until(lambda: stage.decided).until(lambda: not stage.decided)


def crash_coordinator(stage: Stage, q: str, told: int = 1) -> None:
    """Inside the handler that takes it over the point.

    On `Begin` it yields Prepare to A, to B, to C, and two timers; on the last yes Persist, Record,
    two CancelTimer, Decision to A, to B, to C, and a timer; on the last acknowledgement
    CancelTimer and Persist.
    """
    if q in ("Q0", "Q1"):
        stage.inject(CrashAt(0, 0 if q == "Q0" else told))
    elif q == "Q5":
        stage.until(lambda: stage.unheard == 1).inject(CrashAt(0, 1))
    else:
        before = {"Q2": 0, "Q3": told, "Q4": 4 + told}[q]
        stage.until(lambda: stage.votes == 2).inject(CrashAt(0, before))
    stage.until(lambda: not stage.sim.alive(0)).run(3)


# -- the rows: each says how the transaction ends


def coordinator_restarts(stage: Stage, q: str) -> str:
    crash_coordinator(stage, q)
    doubted = [p for p in stage.participants if stage.says_that_it_is_in_doubt(p)]
    assert bool(doubted) == (q in ("Q1", "Q2", "Q3", "Q4"))
    stage.restart(0).run(10)
    assert not stage.decided, "it has not forgotten"
    return stage.outcome()


def coordinator_fails_over(stage: Stage, q: str) -> str:
    """On three replicas; the old leader does not come back. Where its successor finds no decision
    it is its own entry in the log that aborts."""
    stage = Stage(replicated=True)
    leader, (a, *others) = stage.coordinator.me, stage.participants
    if q == "Q0":
        stage.cut((leader,), stage.participants).until(lambda: stage.votes == 0)
    if q == "Q1":
        stage.until(lambda: stage.votes == 0)
    if q == "Q2":
        stage.until(lambda: stage.votes == 2)
    if q == "Q3":
        stage.until(lambda: len(in_log(stage, Decide)) == 1)
    if q == "Q4":
        stage.until(stage.prepared).cut((leader,), tuple(others))
        stage.until(lambda: stage.ends()[a] is True)
    if q == "Q5":
        stage.until(lambda: stage.decided).until(lambda: not stage.decided)
    stage.inject(Kill(leader), Heal()).run(10)
    assert stage.coordinator.me != leader
    assert len(in_log(stage, AbortUndecided)) >= 2, "one of each leader"
    assert bool(in_log(stage, Decide)) == (q in ("Q3", "Q4", "Q5"))
    assert not stage.decided, "it has not forgotten"
    return stage.outcome()


def in_log(stage: Stage, kind: type) -> set[object]:
    """The commands of a kind that stand on the disks of a majority of the three replicas."""
    logs = [stage.sim.on_disk(i)["log"].items for i in (0, 1, 2)]
    commands = [{e.command for e in log if isinstance(e.command, kind)} for log in logs]
    return {x for x in set().union(*commands) if sum(x in there for there in commands) >= 2}


def coordinator_is_gone(stage: Stage, q: str) -> str:
    crash_coordinator(stage, q)
    stage.run(60)
    if stage.outcome() == "in doubt":
        assert all(map(stage.says_that_it_is_in_doubt, stage.participants))
    return stage.outcome()


def participant_restarts(stage: Stage, q: str) -> str:
    """On `Prepare` A yields Persist, Send and a timer; on the decision Apply, Persist, CancelTimer
    and Send."""
    if q == "Q1":
        stage.inject(CrashAt(A, 0)).until(lambda: not stage.sim.alive(A))
        assert stage.visible(A) == ["10.tmp"]
    elif q == "Q2":
        stage.inject(CrashAt(A, 2)).until(lambda: not stage.sim.alive(A))
        assert stage.prepared(A)
    elif q == "Q4":
        stage.until(lambda: stage.prepared(A)).inject(CrashAt(A, 1))
        stage.until(lambda: not stage.sim.alive(A))
        assert stage.prepared(A), "it has applied the commit, and has not written so down"
    else:
        reach(stage, q)
        stage.inject(Kill(A), Heal())
    stage.run(3).restart(A).run(10)
    assert not stage.decided
    return stage.outcome()


def participant_is_lost(stage: Stage, q: str) -> str:
    """What it has said is not forgotten with it: the others do what was decided."""
    reach(stage, q)
    lost = B if q == "Q4" else A
    stage.inject(Kill(lost), Heal()).run(20)
    assert stage.decided == (q in ("Q3", "Q4")), "it keeps what one has not acknowledged"
    if q == "Q5":
        stage.run(60)
        assert stage.sim.on_disk(B)["fence"] > 1_000_001, "the next one was not begun"
        assert stage.visible(B) == stage.visible(C) == ["10"], "the older step stays"
        return COMMIT
    return stage.outcome(*(p for p in stage.participants if p != lost))


def messages_are_lost_or_late(stage: Stage, q: str) -> str:
    """Whatever it is that comes next at the point: it is lost for half a second, and then all
    that is said comes twice."""
    pairs = [(a, b) for a in stage.members for b in stage.members]
    if q != "Q5":
        reach(stage, q)
    else:
        stage.until(lambda: stage.decided).cut((A, B, C), (0,))
    stage.run(0.5).inject(Heal(), *(Duplicate(a, b, 1.0) for a, b in pairs)).run(10)
    assert not stage.decided
    return stage.outcome()


def partition(stage: Stage, q: str) -> str:
    """A with the coordinator, B and C apart, for a while."""
    reach(stage, q)
    stage.inject(Heal(), Partition(((0, A), (B, C)))).run(20)
    if q in ("Q2", "Q3", "Q4"):
        assert stage.outcome(A) == (ABORT if q == "Q2" else COMMIT)
        assert stage.outcome(B, C) == DOUBT, "nobody decides alone"
    stage.inject(Heal()).run(10)
    return stage.outcome()


def disk_fails(stage: Stage, q: str) -> str:
    if q == "Q0":
        stage.disks[A].full = True
    elif q == "Q1":
        stage.disks[A].fail_fsync = True
    elif q == "Q3":  # at the write that would be the decision
        stage.until(stage.prepared).inject(DiskError(0)).until(lambda: not stage.sim.alive(0))
    else:
        reach(stage, q)
    if q == "Q4":  # B cannot write the end down, and what it has prepared is damaged by now
        stage.disks[B].corrupt("10.tmp", 9)
        stage.inject(DiskError(B), Heal()).until(lambda: not stage.sim.alive(B))
    stage.inject(Heal()).run(2).restart(*(i for i in (0, B) if not stage.sim.alive(i))).run(10)
    if q == "Q4":
        assert stage.ends()[B] is True
        assert stage.visible(B) == [], "what is damaged is not visible"
        assert stage.sim.on_disk(B)["unreadable"] == "10"
        return stage.outcome(A, C)
    if q == "Q5":  # the next step: the older shard goes when the newer one is there to stay
        assert stage.outcome() == COMMIT
        stage.until(lambda: any("20" in stage.visible(p) for p in (A, B, C)), within=100)
        for p in stage.participants:
            stage.disks[p].lose_power()
            assert "20" in stage.visible(p) or {"10", "20.tmp"} <= set(stage.visible(p))
        stage.run(10)
        assert all(stage.visible(p) == ["20"] for p in (A, B, C))
        return COMMIT
    return stage.outcome()


ABORT, COMMIT, DOUBT = "aborted", "committed", "in doubt"
EXPECTED: dict[Callable[[Stage, str], str], tuple[str, ...]] = {
    coordinator_restarts: (ABORT, ABORT, ABORT, COMMIT, COMMIT, COMMIT),
    coordinator_fails_over: (ABORT, ABORT, ABORT, COMMIT, COMMIT, COMMIT),
    coordinator_is_gone: (ABORT, ABORT, DOUBT, DOUBT, COMMIT, COMMIT),
    participant_restarts: (ABORT, ABORT, COMMIT, COMMIT, COMMIT, COMMIT),
    participant_is_lost: (ABORT, ABORT, ABORT, COMMIT, COMMIT, COMMIT),
    messages_are_lost_or_late: (COMMIT, COMMIT, COMMIT, COMMIT, COMMIT, COMMIT),
    partition: (ABORT, ABORT, ABORT, COMMIT, COMMIT, COMMIT),
    disk_fails: (ABORT, ABORT, COMMIT, ABORT, COMMIT, COMMIT),
}
CELLS = [
    (row, q, end) for row, ends in EXPECTED.items() for q, end in zip(POINTS, ends, strict=True)
]


@pytest.mark.case(21, 35)
@pytest.mark.parametrize(
    ("row", "q", "end"), CELLS, ids=[f"{row.__name__}-{q}" for row, q, _ in CELLS]
)
def test_a_cell(row: Callable[[Stage, str], str], q: str, end: str) -> None:
    assert row(Stage(), q) == end


def test_the_matrix_is_whole() -> None:
    assert len(CELLS) == 8 * 6
