"""Invariants of the views, and the hosts that the nodes have in a real cluster."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from labkit.protocols.effects import Apply, Message, Protocol, Record
from labkit.protocols.views import Connected, Expect, NextView, Views
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.raft import INVARIANTS as RAFT
from labkit.view import Member

if TYPE_CHECKING:
    from labkit.simulator.simulation import Simulation


class Hosts(Invariant):
    """What the hosts do: they see a connection open and close, each a little later than the last,
    and hear from the launcher who is alive. A partition closes no connection."""

    name, title = "hosts", "what the hosts see"

    def __init__(self) -> None:
        self.lives: dict[int, Member] = {}
        self.delays: dict[int, float] = {}

    def started(self, sim: Simulation, i: int, node: Protocol) -> None:
        self.lives[i] = Member(i, sim.life(i))
        self.changed(sim)

    def crashed(self, sim: Simulation, i: int) -> None:
        del self.lives[i]
        self.changed(sim)

    def changed(self, sim: Simulation) -> None:
        living = tuple(sorted(self.lives.values()))
        for i, me in sorted(self.lives.items()):
            if i not in self.delays:
                self.delays[i] = Random(f"{sim.seed}/host/{i}").uniform(0.0005, 0.01)
            others = tuple(member for member in living if member != me)
            self.say(sim, i, Connected(me, others))
            self.say(sim, i, Expect(living))

    def say(self, sim: Simulation, i: int, message: Message) -> None:
        sim.tell(i, message, self.delays[i], life=sim.life(i))


class TotalOrder(Invariant):
    name, title = "M-S1", "views come in one order"

    def __init__(self) -> None:
        self.last: dict[int, tuple[Member | None, int]] = {}  # by node: its life, the view's number

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.kind != "view":
            return
        life, number = sim.node(i).life, record.data["number"]
        before, last = self.last.get(i, (None, 0))
        if before == life and number <= last:
            raise Violation(self, f"rank {i} installed view {number} after view {last}")
        self.last[i] = life, number


class SameMembers(Invariant):
    name, title = "M-S2", "a view has the same members for all, and whoever installs it is one"

    def __init__(self) -> None:
        self.members: dict[int, tuple[Member, ...]] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if isinstance(apply.command, NextView):
            self.compare(i, apply.command)

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.kind == "view":
            members = tuple(map(Member, record.data["members"], record.data["lives"]))
            view = NextView(record.data["number"], members)
            self.compare(i, view)
            if sim.node(i).life not in members:
                raise Violation(self, f"rank {i} installed {view}, which it is not in")

    def compare(self, i: int, view: NextView) -> None:
        known = self.members.setdefault(view.number, view.members)
        if known != view.members:
            raise Violation(self, f"rank {i} has {view}; another has the members {known}")


class Settles(Invariant):
    """Not an invariant of every moment: `judge` runs the healed simulation on."""

    name, title = "M-L1", "once all is well, all are in one view"

    @classmethod
    def judge(cls, sim: Simulation, within: float) -> None:
        def settled(s: Simulation) -> bool:
            ranks = s.members[:-1]
            nodes: list[Views] = [s.node(i) for i in ranks]
            views = {node.view for node in nodes}
            lives = tuple(Member(i, s.life(i)) for i in ranks)
            return len(views) == 1 and views.pop().members == lives

        if not sim.run_until(settled, within):
            said = ", ".join(f"rank {i}: {sim.node(i).view}" for i in sim.members[:-1])
            raise Violation(cls(), f"{within:g} s after all has healed: {said}")


# Not the budget of messages: a leader that finds the view wrong with its beat proposes at once.
INVARIANTS: tuple[type[Invariant], ...] = (
    *(invariant for invariant in RAFT if invariant.name != "R-L8"),
    TotalOrder,
    SameMembers,
)
