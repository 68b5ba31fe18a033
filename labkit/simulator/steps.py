"""Training over the views: which steps count, when members die in the middle of one.

Each process trains beside its node of the views. A group's all-reduce is played as messages: every
member tells all others when its part of a step is computed, and applies the step when it has the
parts of all. So a death leaves some that have applied the last step beside others that have not,
and where the members of the next view go on is `labkit.view.roll_forward`'s to say, as in a real
training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from labkit.protocols.effects import (
    Broadcast,
    CancelTimer,
    Effects,
    Message,
    Protocol,
    Record,
    SetTimer,
)
from labkit.protocols.views import Views
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.views import SameMembers, Settles, TotalOrder
from labkit.simulator.node import Factory
from labkit.simulator.processes import BESIDE, Placed, Processes
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, Schedule, swarm
from labkit.simulator.simulation import Simulation
from labkit.view import roll_forward

COMPUTING = 0.01, 0.05
AGAIN = 0.1
"""Seconds after which a member says once more what may have been lost."""


class Joined(Message, frozen=True):
    """In this view, with a state that is the sum of these steps."""

    view: int
    applied: tuple[int, ...]


class Part(Message, frozen=True):
    """My part of this step is computed."""

    view: int
    step: int


class Trainer(Protocol):
    """`applied` is its state: for each step the number of the view in which it was applied."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.applied: tuple[int, ...] = ()
        self.view = Placed((), 0)
        self.group: tuple[int, ...] = ()  # its nodes
        self.joined: dict[int, tuple[int, ...]] = {}
        self.parts: dict[int, set[int]] = {}  # by step: who has computed it
        self.said: list[Message] = []

    def on_start(self) -> Effects:
        yield SetTimer("again", AGAIN)

    # -- messages

    def on_placed(self, host: int, m: Placed) -> Effects:
        """The group that it was in is left behind, in the middle of a step perhaps."""
        if m.number > self.view.number:
            self.view, self.group = m, tuple(BESIDE + member.rank for member in m.members)
            self.joined, self.parts, self.said = {}, {}, []
            yield CancelTimer("computed")
            yield from self.say(Joined(m.number, self.applied))
            yield from self.on_joined(self.me, Joined(m.number, self.applied))

    def on_joined(self, member: int, m: Joined) -> Effects:
        if m.view == self.view.number and member not in self.joined:
            self.joined[member] = m.applied
            if self.all_are_in(self.joined):
                yield from self.catch_up()

    def on_part(self, member: int, m: Part) -> Effects:
        if m.view == self.view.number:
            self.parts.setdefault(m.step, set()).add(member)
            yield from self.apply()

    # -- timers

    def on_computed(self) -> Effects:
        part = Part(self.view.number, len(self.applied) + 1)
        yield from self.say(part)
        yield from self.on_part(self.me, part)

    def on_again(self) -> Effects:
        for message in self.said:
            yield Broadcast(self.fellows, message)
        yield SetTimer("again", AGAIN)

    # -- a group

    def catch_up(self) -> Effects:
        """All take the state of the most advanced."""
        steps = {member: len(applied) for member, applied in self.joined.items()}
        going_on = roll_forward(steps, minimum=1)
        assert going_on is not None, "it is in its own view"
        source, behind, _ = going_on
        if self.me in behind:
            self.applied = self.joined[source]
        yield from self.compute()

    def compute(self) -> Effects:
        yield SetTimer("computed", self.context.random.uniform(*COMPUTING))

    def apply(self) -> Effects:
        step = len(self.applied) + 1
        if self.all_are_in(self.joined) and self.all_are_in(self.parts.get(step, ())):
            self.applied += (self.view.number,)
            yield Record("step", step=step, view=self.view.number)
            yield from self.compute()

    # -- helpers

    @property
    def fellows(self) -> tuple[int, ...]:
        return tuple(node for node in self.group if node != self.me)

    def all_are_in(self, those: Any) -> bool:
        return all(node in those for node in self.group)

    def say(self, message: Message) -> Effects:
        """Others may be one step behind, and lack the part before this one."""
        self.said = [*self.said[:1], *self.said[1:][-1:], message]
        yield Broadcast(self.fellows, message)


class CommittedOnce(Invariant):
    """A step is committed when all members of a view have applied it. Whoever has lived through
    that takes it into every later view; only when none of them lives may it be done anew."""

    name, title = "M-S3", "no step is committed by two views"

    def __init__(self) -> None:
        self.lives: dict[tuple[int, int], dict[int, int]] = {}  # by step and view: who applied it
        self.committed: dict[int, int] = {}  # by step: the view

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.kind != "step":
            return
        step, view = record.data["step"], record.data["view"]
        lives = self.lives.setdefault((step, view), {})
        lives[i] = sim.life(i)
        if lives.keys() >= set(sim.node(i).group):
            first = self.committed.setdefault(step, view)
            were_there = self.lives[step, first].items()
            alive = [j for j, life in were_there if sim.alive(j) and sim.life(j) == life]
            if alive and first != view:
                what = f"view {view} commits step {step}, which view {first} has committed"
                raise Violation(self, f"{what}; rank {alive[0] - BESIDE} was there")
            self.committed[step] = view


class GoesOn(Invariant):
    name, title = "M-L2", "once all is well, training goes on, from one state"

    @classmethod
    def judge(cls, sim: Simulation, within: float) -> None:
        def trainers(s: Simulation) -> list[Any]:
            return [s.node(BESIDE + rank) for rank in s.members[:-1]]

        before = max(len(trainer.applied) for trainer in trainers(sim))

        def gone_on(s: Simulation) -> bool:
            histories = {trainer.applied for trainer in trainers(s)}
            return len(histories) == 1 and len(histories.pop()) > before

        if not sim.run_until(gone_on, within):
            told = [len(trainer.applied) for trainer in trainers(sim)]
            raise Violation(cls(), f"{within:g} s after step {before} they are at {told}")


def trainers(schedule: Schedule) -> Mapping[int, Factory]:
    """All but the last node, which is the witness."""
    return {BESIDE + rank: Trainer for rank in range(schedule.n - 1)}


def progress(sim: Simulation) -> None:
    Settles.judge(sim, within=10.0)
    GoesOn.judge(sim, within=5.0)


STEPS = Scenario(
    "STEPS",
    Views,
    (Processes, TotalOrder, SameMembers, CommittedOnce),
    trainers,
    progress,
    draw=partial(swarm, kinds=KEPT_DISKS),
)
