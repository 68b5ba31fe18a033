"""What a protocol is tried with: its clients, the invariants that must hold, and what counts as
progress once the faults have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from labkit.faults import FaultPlan
from labkit.simulator.invariants import Invariant
from labkit.simulator.node import Factory
from labkit.simulator.schedule import Schedule, swarm
from labkit.simulator.simulation import Simulation


def _no_clients(schedule: Schedule) -> Mapping[int, Factory]:
    return {}


def _no_progress(sim: Simulation) -> None:
    pass


class Scenario(NamedTuple):
    """First safety under any fault, then heal and require progress: both, since a node that does
    nothing is safe, and a network that never heals lets nobody go on.

    `clients(schedule)` are the nodes that use the protocol; `progress(sim)` runs the healed
    simulation on and raises `Violation` when what must happen does not; `draw` makes the schedule
    of a seed.
    """

    name: str
    protocol: Factory
    invariants: tuple[type[Invariant], ...] = ()
    clients: Callable[[Schedule], Mapping[int, Factory]] = _no_clients
    progress: Callable[[Simulation], None] = _no_progress
    spares: int = 0
    draw: Callable[[int], Schedule] = swarm


def prepare(scenario: Scenario, schedule: Schedule, record: bool = False) -> Simulation:
    """The simulation of a schedule, at its beginning."""
    return Simulation(
        scenario.protocol,
        schedule.n,
        schedule.seed,
        FaultPlan(*schedule.plan),
        schedule.network,
        scenario.invariants,
        scenario.clients(schedule),
        scenario.spares,
        record=record,
    )


def play(scenario: Scenario, schedule: Schedule, record: bool = False) -> Simulation:
    """Runs a schedule to its end. Raises `Violation` with the first invariant that does not hold.

    The same scenario and schedule are the same run, on any machine and in any process.
    """
    return finish(scenario, schedule, prepare(scenario, schedule, record))


def finish(scenario: Scenario, schedule: Schedule, sim: Simulation) -> Simulation:
    """Faults until `schedule.seconds`, then the healing phase, then a look at the whole."""
    sim.run(schedule.seconds).heal()
    scenario.progress(sim)
    return sim.finish()
