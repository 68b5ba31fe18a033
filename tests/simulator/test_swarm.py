"""The short sweep: every protocol under everything that the swarm knows. The long one has a hundred
times as many seeds."""

from __future__ import annotations

import marks
import pytest

from labkit.simulator.explore import explore
from labkit.simulator.scenario import play
from labkit.simulator.scenarios import scenario
from labkit.simulator.schedule import KINDS, swarm

SEEDS = 60
RAFTS = (
    *("RAFT", "PLAIN_RAFT", "RAFT_CHANGES", "LATE_RAFT", "CROWDED_RAFT", "LOSSY_RAFT"),
    *("STUCK_RAFT", "DEAF_RAFT", "WIPED_RAFT", "FIGURE_8"),
)
COMMITS = ("COMMIT", "REPLICATED_COMMIT", "CHECKPOINTS")
NAMES = (*RAFTS, "VIEWS", "STEPS", *COMMITS, "QUORUM", "HASTY_QUORUM", "PRIMARY_BACKUP", "BLOCKS")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_invariant_breaks(name: str) -> None:
    seeds = SEEDS // 3 if name == "CROWDED_RAFT" else SEEDS  # three times the messages of others
    result = explore(scenario(name), seeds=seeds)
    assert result.finding is None, str(result)
    assert result.seeds == seeds


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_no_invariant_breaks_in_a_long_sweep(name: str) -> None:
    result = explore(scenario(name), seeds=10_000)
    assert result.finding is None, str(result)


def test_every_kind_of_fault_is_drawn() -> None:
    kinds = {type(e.fault).__name__ for seed in range(100) for e in swarm(seed).plan}
    assert kinds == {
        *("Kill", "Restart", "Revive", "CrashAt", "Pause", "Partition", "Cut", "Heal", "Drift"),
        *("Slow", "DiskError", "WipeDisk"),
    }
    networks = [swarm(seed).network for seed in range(100)]
    assert any(n.loss > 0.1 for n in networks)
    assert any(n.duplicate > 0.1 for n in networks)
    assert any(n.tail > 0.02 and n.tail_seconds > 1 for n in networks)
    assert len(KINDS) == 11


@pytest.mark.slow
def test_everything_on_the_list_is_hit() -> None:
    """Coverage marks: what the sweep never does it cannot have tried."""
    missing = marks.FAULTS | marks.ROLES | marks.RAFT

    for seed in range(SEEDS):
        for name in ("RAFT", "RAFT_CHANGES"):
            sim = play(scenario(name), scenario(name).draw(seed), record=True)
            assert sim.recorder is not None
            missing -= marks.marks(sim.recorder.trace)
        if not missing:
            break

    assert not missing, f"{SEEDS} seeds of the sweep never hit: {', '.join(sorted(missing))}"
