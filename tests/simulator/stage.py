"""The stage on which the fault matrix of two-phase commit is played: shards of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.faults import Cut, Fault, Restart
from labkit.protocols.effects import Effects, Protocol, Send, SetTimer
from labkit.protocols.two_phase_commit import Begin, Coordinator
from labkit.protocols.two_phase_commit.replicated import ReplicatedCoordinator
from labkit.simulator.disk import SimulatedDisk
from labkit.simulator.invariants import Invariant
from labkit.simulator.invariants.commit import INVARIANTS
from labkit.simulator.shards import Shards
from labkit.simulator.simulation import Simulation

CLIENT = 1000


class Client(Protocol):
    """Begins the transaction of step 10 after one second, and then one each minute."""

    def __init__(self, *arguments: Any, to: tuple[int, ...], participants: tuple[int, ...]):
        super().__init__(*arguments)
        self.to, self.participants, self.step = to, participants, 0

    def on_start(self) -> Effects:
        yield SetTimer("begin", 1.0 - self.context.now)

    def on_begin(self) -> Effects:
        self.step += 10
        for to in self.to:
            yield Send(to, Begin(self.participants, self.step))
        yield SetTimer("begin", 60.0)


class Stage:
    """A simulation with the words in which a cell of the matrix is told."""

    def __init__(self, replicated: bool = False) -> None:
        self.members = (0, 1, 2) if replicated else (0, 1, 2, 3)
        self.participants = (3, 4, 5) if replicated else (1, 2, 3)
        self.disks = {p: SimulatedDisk(p) for p in self.participants}
        disks, members, participants = self.disks, self.members, self.participants

        def node(me: int, known: tuple[int, ...], *others: Any) -> Protocol:
            if me in participants:
                coordinators = members if replicated else (0,)
                return Shards(me, known, *others, disks=disks, coordinators=coordinators)
            return (ReplicatedCoordinator if replicated else Coordinator)(me, known, *others)

        def client(*arguments: Any) -> Protocol:
            return Client(*arguments, to=members if replicated else (0,), participants=participants)

        class PowerFails(Invariant):
            name, title = "-", "a crash of a node is one of its disk"

            def crashed(self, sim: Simulation, i: int) -> None:
                if i in disks:
                    disks[i].lose_power()

        if replicated:
            node.found = ReplicatedCoordinator.found  # type: ignore[attr-defined]
        self.sim = Simulation(
            node,
            len(members),
            seed=1,
            invariants=(*INVARIANTS, PowerFails),
            clients={CLIENT: client},
            spares=3 if replicated else 0,
            record=True,
        )
        self.sim.run(0.99)

    # -- what happens

    def until(self, holds: Callable[[], bool], within: float = 5.0) -> Stage:
        assert self.sim.run_until(lambda sim: holds(), within), "it never comes to that"
        return self

    def run(self, seconds: float) -> Stage:
        self.sim.run(seconds)
        return self

    def inject(self, *faults: Fault) -> Stage:
        for fault in faults:
            self.sim.inject(fault)
        return self

    def cut(self, sources: tuple[int, ...], targets: tuple[int, ...]) -> Stage:
        return self.inject(*(Cut(a, b) for a in sources for b in targets if a != b))

    def restart(self, *ranks: int) -> Stage:
        return self.inject(*map(Restart, ranks))

    # -- what there is to see

    @property
    def coordinator(self) -> Any:
        """The node that coordinates, None while there is none."""
        nodes = [n for i, n in self.sim.nodes.items() if isinstance(n, Coordinator)]
        return next((node for node in nodes if getattr(node, "coordinates", True)), None)

    @property
    def votes(self) -> int:
        """How many have said yes to what it asks about; -1 when it asks about nothing."""
        node = self.coordinator
        asked = len(self.participants)
        return max((asked - len(node.silent[t]) for t in node.asking), default=-1) if node else -1

    @property
    def unheard(self) -> int:
        """How many have not acknowledged; -1 when nobody needs to."""
        node = self.coordinator
        if node is None:
            return -1
        return max((len(s) for t, s in node.silent.items() if t not in node.asking), default=-1)

    @property
    def decided(self) -> bool:
        node = self.coordinator
        return node is not None and bool(node.committed)

    def prepared(self, *participants: int) -> bool:
        return all(self.sim.on_disk(p).get("prepared") for p in participants or self.participants)

    def says_that_it_is_in_doubt(self, p: int) -> bool:
        return any(e.name == "is in doubt" and e.rank == p for e in self.sim.events)

    def ends(self) -> dict[int, bool | None]:
        """By participant, how the last transaction ended, as its disk says."""
        ends = {p: self.sim.on_disk(p).get("ended", ()) for p in self.participants}
        return {p: ended[-1][1] if ended else None for p, ended in ends.items()}

    def outcome(self, *participants: int) -> str:
        """At these participants, all of them if none is named."""
        among = participants or self.participants
        ends = {self.ends()[p] for p in among}
        if any(self.prepared(p) for p in among):
            return "in doubt" if ends == {None} else "in doubt, some of them"
        if True in ends:
            assert ends == {True}, self.ends()
            assert all(self.visible(p) == ["10"] for p in among), "committed and not visible"
            return "committed"
        assert not any(self.visible(p) for p in among), "aborted and left on a disk"
        return "aborted"

    def visible(self, p: int) -> list[str]:
        return self.disks[p].list()
