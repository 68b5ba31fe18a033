"""Simulations on disks that are simulated byte by byte, and messages that are really encoded."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.faults import At, CrashAt, DiskError, FaultPlan, Kill, LostWrite, Restart, WipeDisk
from labkit.protocols.raft import Raft
from labkit.simulator.invariants import Violation
from labkit.simulator.journaled import journaled
from labkit.simulator.mutants import applied
from labkit.simulator.mutants.raft import RAFT as MUTANTS
from labkit.simulator.scenarios import RAFT
from labkit.simulator.schedule import Schedule, swarm
from labkit.simulator.simulation import Simulation


def raft(schedule: Schedule, **options: Any) -> Simulation:
    clients = RAFT.clients(schedule)
    plan = FaultPlan(*schedule.plan)
    return Simulation(
        Raft, schedule.n, schedule.seed, plan, schedule.network, RAFT.invariants, clients, **options
    )


KINDS = ("crash", "crash leader", "crash inside", "pause", "isolate", "cut")


@pytest.mark.parametrize("seed", range(4))
def test_bytes_on_wire_and_disk_change_nothing(seed: int) -> None:
    schedule = swarm(seed, kinds=KINDS, seconds=4.0)
    quick = raft(schedule, record=True).run(5.0)
    whole = raft(schedule, record=True, wire=True, storage=journaled(Raft, seed)).run(5.0)
    assert quick.recorder is not None
    assert whole.recorder is not None
    for a, b in zip(quick.recorder.lines(), whole.recorder.lines(), strict=True):
        assert a == b


@pytest.mark.parametrize("seed", range(6))
def test_raft_is_safe_on_disks_that_fail(seed: int) -> None:
    schedule = swarm(seed, kinds=("disk", "crash inside", "crash leader"), seconds=5.0)
    sim = raft(schedule, wire=True, storage=journaled(Raft, seed))
    sim.run(5.0).heal()
    RAFT.progress(sim)
    sim.finish()


def test_a_failed_write_is_full_or_broken_and_the_node_comes_back() -> None:
    entries = [At(fault(1), seconds=0.5 * k) for k in range(1, 9) for fault in (DiskError, Restart)]
    schedule = Schedule(0, plan=tuple(entries))
    sim = raft(schedule, storage=journaled(Raft)).run(5.0).heal()
    RAFT.progress(sim)
    sim.finish()


def test_what_a_lying_disk_loses_is_found_missing() -> None:
    """h03: a harness that keeps what was not synced would never see it."""
    lost = 0
    for seed in range(10):
        sim = raft(Schedule(seed), storage=journaled(Raft, seed))
        sim.inject(LostWrite(0))
        sim.run(1.0)
        before = sim.stored[0]
        sim.inject(Kill(0))
        lost += sim.stored[0] != before
    assert lost >= 5


def test_a_wiped_disk_is_empty_and_its_node_is_no_voter() -> None:
    plan = At(WipeDisk(1), seconds=1.0), At(Restart(1), seconds=1.2), At(CrashAt(1, 1), seconds=2.0)
    sim = raft(Schedule(0, plan=plan), storage=journaled(Raft)).run(1.1)
    assert sim.stored[1] == {}
    sim.run(0.5)
    assert sim.stored[1]["identity"] != 0
    assert not sim.node(1).may_stand()


def a_vote_without_a_write() -> None:
    mutant = next(m for m in MUTANTS if m.id == "m01")
    with applied(mutant):
        for seed in range(50):
            raft(swarm(seed, seconds=5.0), storage=journaled(Raft, seed)).run(5.0)


def test_a_missing_write_is_seen_on_the_journaled_disk_too() -> None:
    with pytest.raises(Violation, match=r"R-S[78]"):
        a_vote_without_a_write()
