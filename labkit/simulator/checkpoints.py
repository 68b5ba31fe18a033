"""Checkpoints of ranks that die: the views, the two-phase commit in their log, and a folder.

Beside its node of the views each process has a saver. What the savers write is what
`labkit.checkpoint` writes, in the same order, with one line in a file in the place of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

import msgspec

from labkit.faults import At, CrashAt
from labkit.protocols.checkpoints import SAVERS, Finished, Saver, ViewsAndCheckpoints, Want, Wish
from labkit.protocols.checkpoints.messages import wish_of
from labkit.protocols.effects import Effects, Protocol, SetTimer
from labkit.protocols.two_phase_commit import Voted
from labkit.protocols.two_phase_commit.messages import Ranks
from labkit.simulator.checkpoint_folder import (
    folder,
    number_of,
    publish_manifest,
    text_of,
    tidy,
    write_shard,
)
from labkit.simulator.disk import SimulatedDisk
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.commit import INVARIANTS as COMMIT
from labkit.simulator.invariants.commit import DurableDecision, has_chosen
from labkit.simulator.invariants.commit_progress import Forgets, Resolved
from labkit.simulator.invariants.views import SameMembers, Settles, TotalOrder
from labkit.simulator.node import Factory
from labkit.simulator.processes import Placed, Processes
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, Schedule, swarm
from labkit.simulator.simulation import Simulation
from labkit.view import Member

STEP_SECONDS = 0.7
RUN = 1


class Rank(Saver):
    """Trains, wishes for a checkpoint now and then, and takes some time to write its shard."""

    def __init__(self, *arguments: Any, disk: SimulatedDisk) -> None:
        super().__init__(*arguments)
        self.disk = disk
        self.view: tuple[Member, ...] = ()
        self.busy = False

    def on_start(self) -> Effects:
        yield from super().on_start()
        yield SetTimer("step", STEP_SECONDS)

    def on_placed(self, host: int, m: Placed) -> None:
        self.view = m.members

    def on_step(self) -> Effects:
        """By the clock, or what others want who are a step ahead: training goes in lockstep, so
        this rank comes to that step too."""
        now = self.context.now
        step = round(now / STEP_SECONDS)
        yield SetTimer("step", (step + 1) * STEP_SECONDS - now)
        if not self.busy and self.view:
            self.busy = True
            ahead = [wish_of(m.payload) for _, m in self.preparing.values()]
            ahead = [wish for wish in ahead if wish.members == self.view]
            wish = ahead[-1] if ahead else Wish(RUN, step, self.view)
            yield from self.on_want(
                self.me, Want(wish, 1 + max(map(number_of, ["", *self.disk.list()])))
            )

    def compare(self) -> Effects:
        before = self.bound
        yield from super().compare()
        if self.bound is not None and self.bound != before:
            yield SetTimer("written", self.context.random.uniform(0, 0.2), self.bound)

    def on_written(self, number: int) -> Effects:
        if self.wish is None or number != self.bound:
            return  # it was aborted meanwhile
        place, size = self.wish.savers.index(self.me), len(self.wish.members)
        write_shard(self.disk, number, self.wish.step, place, size)
        yield from self.on_voted(self.me, Voted(number, True))

    def told(self, transaction: int, commit: bool) -> SetTimer:
        """In place of the word to the host: what its writer would do then."""
        after = self.context.random.uniform(0, 0.1)
        return SetTimer("finish", after, (transaction, commit))

    def on_finish(self, decision: tuple[int, bool]) -> Effects:
        number, commit = decision
        if commit:
            publish_manifest(self.disk, number, self.me)
            if self.view and SAVERS + self.view[0].rank == self.me:
                tidy(self.disk)
        self.busy = False
        yield from self.on_finished(self.me, Finished(number))

    def on_outdated(self, coordinator: int, m: Any) -> Effects:
        yield from super().on_outdated(coordinator, m)
        self.busy = self.wish is not None


class Machine(Processes):
    """All savers write into one folder on one disk, which loses its power when a process dies."""

    def crashed(self, sim: Simulation, i: int) -> None:
        folder(sim).lose_power()
        super().crashed(sim, i)


class DurableInTheLog(DurableDecision):
    """On the disks of a majority of those who voted on it: they are not the members of old, and
    may have changed by one since."""

    def is_durable(self, sim: Simulation, i: int, transaction: int) -> bool:
        def chosen_by(voters: Ranks) -> bool:
            return 2 * sum(has_chosen(sim.on_disk(v), transaction) for v in voters) > len(voters)

        last = [voters for _, voters in sim.node(i).configurations[-2:]]
        return any(chosen_by(tuple(node for node, _ in voters)) for voters in last)


class Whole(Invariant):
    name, title = "P-S8", "a checkpoint that can be seen is whole, and `latest` moves only forward"

    def __init__(self) -> None:
        self.looked, self.latest, self.seen = 0, 0, 0

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        if i >= SAVERS and folder(sim).operations != self.looked:
            self.look(folder(sim))

    def crashed(self, sim: Simulation, i: int) -> None:
        self.look(folder(sim))

    def look(self, disk: SimulatedDisk) -> None:
        self.looked = disk.operations
        names = disk.list()
        for name in names:
            if name.endswith(".manifest"):
                self.is_whole(disk, name, names)
        if "latest" in names:
            target = self.text(disk, "latest")
            if target not in names or number_of(target) < self.latest:
                raise Violation(self, f"`latest` names {target}, after {self.latest}: {names}")
            self.latest = number_of(target)

    def is_whole(self, disk: SimulatedDisk, name: str, names: list[str]) -> None:
        shards = self.text(disk, name).split()
        size = int(shards[0].rpartition("-")[2])
        start = name.removesuffix(".manifest")
        if shards != sorted(f"{start}.rank-{place}-of-{size}" for place in range(size)):
            raise Violation(self, f"{name} is made of {shards}")
        for shard in shards:
            if shard not in names:
                raise Violation(self, f"{name} names {shard}, which is not there")
            self.text(disk, shard)
        self.seen = max(self.seen, number_of(name))

    def text(self, disk: SimulatedDisk, name: str) -> str:
        text = text_of(disk, name)
        if text is None:
            raise Violation(self, f"{name} is not what was written")
        return text


def ranks(schedule: Schedule) -> Mapping[int, Factory]:
    """All but the last node, which is the witness."""
    disk = SimulatedDisk(schedule.seed)
    return {SAVERS + rank: partial(Rank, disk=disk) for rank in range(schedule.n - 1)}


# Steps come by the clock here, so it must be the same for all; and no disk comes back empty.
ONE_CLOCK = tuple(kind for kind in KEPT_DISKS if kind != "drift")


def with_crashes_of_savers(seed: int) -> Schedule:
    """Half of the crashes between two effects are between those of a saver."""
    drawn = swarm(seed, sizes=(3, 4, 5), kinds=ONE_CLOCK)
    draw = Random(f"savers/{seed}")

    def aimed(entry: At) -> At:
        if isinstance(entry.fault, CrashAt) and draw.random() < 0.5:
            fault = CrashAt(SAVERS + draw.randrange(drawn.n - 1), entry.fault.effects)
            return msgspec.structs.replace(entry, fault=fault)
        return entry

    return msgspec.structs.replace(drawn, plan=tuple(map(aimed, drawn.plan)))


class Saves(Invariant):
    name, title = "P-L5", "once all is well, the next checkpoint is committed"

    @classmethod
    def judge(cls, sim: Simulation, within: float) -> None:
        disk = folder(sim)

        def newest() -> int:
            return max(number_of(name) for name in ("", *disk.list()) if name != "latest")

        def committed(sim: Simulation) -> bool:
            return any(number_of(n) > before for n in disk.list() if n.endswith(".manifest"))

        before = newest()
        if not sim.run_until(committed, within):
            raise Violation(cls(), f"none within {within:g} s: {disk.list()}")


def progress(sim: Simulation) -> None:
    Settles.judge(sim, within=10.0)
    Saves.judge(sim, within=20.0)
    for rank in sim.members[:-1]:
        sim.node(SAVERS + rank).view = ()  # wishes for nothing more
    Resolved.judge(sim, within=10.0)
    Forgets.judge(sim, within=10.0)


def processes(me: int, members: Ranks, *others: Any) -> Protocol:
    return ViewsAndCheckpoints(me, members, *others)


processes.found = ViewsAndCheckpoints.found  # type: ignore[attr-defined]

COMMITS = tuple(DurableInTheLog if made is DurableDecision else made for made in COMMIT)

CHECKPOINTS = Scenario(
    "CHECKPOINTS",
    processes,
    (Machine, TotalOrder, SameMembers, *COMMITS, Whole),
    ranks,
    progress,
    draw=with_crashes_of_savers,
)
