"""What must happen in atomic commit. Each is judged by who knows that its premise holds:
`Resolved.judge(sim, within=5.0)` runs the simulation on."""

from __future__ import annotations

from labkit.protocols.two_phase_commit import Coordinator, Participant
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.commit import PREPARED, rm_state
from labkit.simulator.simulation import Simulation


def doubts(sim: Simulation) -> dict[int, tuple[int, ...]]:
    """By participant, the transactions that it is in doubt about, if any."""
    nodes = {i: node for i, node in sim.nodes.items() if isinstance(node, Participant)}
    return {i: node.in_doubt for i, node in nodes.items() if node.in_doubt}


class Resolved(Invariant):
    name, title = "P-L1", "every participant learns the decision when all is well"

    @classmethod
    def judge(cls, sim: Simulation, within: float) -> None:
        if not sim.run_until(lambda sim: not doubts(sim), within):
            raise Violation(cls(), f"in doubt {within:g} s after all has healed: {doubts(sim)}")


class ResolvedByFailover(Resolved):
    """The premise: a majority of the coordinator's replicas lives, and they hear each other."""

    name, title = "P-L3", "nobody stays in doubt longer than a fail-over of the coordinator takes"


class BlocksInTheWindow(Invariant):
    """The premise: the coordinator is gone, all participants live and have heard each other."""

    name, title = "P-L2", "only when all have voted yes and nobody has been told is anybody blocked"

    @classmethod
    def judge(cls, sim: Simulation) -> None:
        for i, transactions in doubts(sim).items():
            for transaction in transactions:
                participants = sim.node(i).prepared[transaction].participants
                states = {p: rm_state(sim.on_disk(p), transaction) for p in participants}
                if set(states.values()) != {PREPARED}:
                    what = f"rank {i} is blocked on transaction {transaction}: {states}"
                    raise Violation(cls(), what)


class Forgets(Invariant):
    """A coordinator's memory does not grow for ever."""

    name, title = "P-L4", "a coordinator forgets what everyone has acknowledged"

    @classmethod
    def judge(cls, sim: Simulation, within: float) -> None:
        def kept(sim: Simulation) -> dict[int, list[int]]:
            nodes = {i: n for i, n in sim.nodes.items() if isinstance(n, Coordinator)}
            return {i: list(n.committed) for i, n in nodes.items() if n.committed}

        if not sim.run_until(lambda sim: not kept(sim), within):
            raise Violation(cls(), f"still kept {within:g} s after all has healed: {kept(sim)}")
