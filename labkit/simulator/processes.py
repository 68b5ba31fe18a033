"""Processes of two nodes, as in the cluster: rank r has a node of the views and, with the number
1000 + r, one that saves or trains. They live and die together."""

from __future__ import annotations

from functools import partial

from labkit.faults import Kill, Restart
from labkit.protocols.checkpoints import SAVERS
from labkit.protocols.effects import Message, Protocol, Record
from labkit.simulator.invariants.views import Hosts
from labkit.simulator.simulation import Simulation
from labkit.view import Member

BESIDE = SAVERS
"""Node 1000 + r lives in the process of rank r."""


class Placed(Message, frozen=True):
    """Of the own host: the view in which this rank trains, and its number."""

    members: tuple[Member, ...]
    number: int


class Processes(Hosts):
    """What happens to one of a process's nodes happens to the other; its host tells the second one
    of the views that the first installs."""

    name, title = "hosts", "what the hosts see and do"

    def started(self, sim: Simulation, i: int, node: Protocol) -> None:
        super().started(sim, i, node)
        if BESIDE + i in sim.nodes and sim.life(i) > 0:
            sim._at(sim.now, partial(self.complete, sim, i))

    def complete(self, sim: Simulation, i: int) -> None:
        if sim.alive(i) and not sim.alive(BESIDE + i):
            sim.inject(Restart(BESIDE + i))

    def crashed(self, sim: Simulation, i: int) -> None:
        if i < BESIDE:
            super().crashed(sim, i)
        other = i - BESIDE if i >= BESIDE else i + BESIDE
        if other in sim.nodes and sim.alive(other):
            sim.inject(Kill(other))

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        other = BESIDE + i
        if record.kind == "view" and other in sim.nodes:
            view = sim.node(i).view
            placed = Placed(view.members, view.number)
            sim.tell(other, placed, self.delays[i], life=sim.life(other))
