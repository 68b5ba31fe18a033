"""D-S5: whatever a failure detector says, neither Raft nor the commit on it loses a promise. Only
their availability suffers."""

from __future__ import annotations

from functools import partial

import pytest

from labkit.protocols.effects import Effects, SetTimer
from labkit.protocols.raft import Raft
from labkit.protocols.two_phase_commit.replicated import ReplicatedCoordinator
from labkit.simulator import transactions
from labkit.simulator.scenario import play
from labkit.simulator.scenarios import RAFT
from labkit.simulator.simulation import Simulation


def raving(base: type[Raft]) -> type[Raft]:
    class Jumpy(base):  # type: ignore[misc,valid-type]
        """Some twenty times a second its detector suspects or trusts somebody, for nothing."""

        def on_start(self) -> Effects:
            yield from super().on_start() or ()
            yield SetTimer("jump", 0.05)

        def on_jump(self) -> Effects:
            draw = self.context.random
            say = self.on_suspect if draw.random() < 0.7 else self.on_trust
            yield from say(draw.choice(self.peers)) or ()
            yield SetTimer("jump", draw.uniform(0.0, 0.1))

    return Jumpy


Jumpy = raving(Raft)


@pytest.mark.parametrize("seed", range(8))
def test_false_suspicions_break_no_promise_of_raft(seed: int) -> None:
    """All R-S invariants and linearizability, under the swarm's faults and a raving detector."""
    jumpy = RAFT._replace(protocol=partial(Jumpy, batch=3, compact=20), progress=lambda sim: None)
    sim = play(jumpy, jumpy.draw(seed))
    assert sim.delivered > 0


@pytest.mark.parametrize("seed", range(4))
def test_false_suspicions_break_no_promise_of_two_phase_commit(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All P-S invariants; who coordinates changes all the time, in the middle of transactions."""
    restless = raving(ReplicatedCoordinator)
    monkeypatch.setattr(transactions, "ReplicatedCoordinator", restless)
    scenario = transactions.REPLICATED_COMMIT._replace(progress=lambda sim: None)

    sim = play(scenario, scenario.draw(seed), record=True)

    assert any(isinstance(node, restless) for node in sim.nodes.values())
    assert sum(e.name == "becomes leader" for e in sim.events) > 10


def test_false_suspicions_cost_leaders() -> None:
    """Without any fault: one leader for ever, and dozens."""

    def elected(protocol: type[Raft]) -> int:
        sim = Simulation(protocol, 5, 1, record=True).run(10)
        return sum(e.name == "becomes leader" for e in sim.events)

    assert elected(Raft) == 1
    assert elected(Jumpy) > 10
