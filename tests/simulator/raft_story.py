"""A Raft group under test, with verbs: `story.kill(leader)`, `story.expect_leader()`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from labkit.faults import CrashAt, Cut, Fault, Heal, Kill, Partition, Pause, Restart
from labkit.protocols.effects import Message, Protocol
from labkit.protocols.raft.client import Client
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.sessions import ClientReply
from labkit.simulator.invariants import Invariant
from labkit.simulator.network import Network
from labkit.simulator.node import Factory
from labkit.simulator.raft_progress import clients_of, raft_progress
from labkit.simulator.scenarios import CLIENTS, RAFT, SMALL, draw_command
from labkit.simulator.simulation import Simulation

T = 0.15
"""The shortest election time-out in seconds; the longest is 2 T."""
PROBE = 1200
INVARIANTS = RAFT.invariants


class Probe(Protocol):
    """A client by hand: what is answered to it is kept."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.replies: list[tuple[int, ClientReply]] = []

    def on_client_reply(self, server: int, m: ClientReply) -> None:
        self.replies.append((server, m))


class Story:
    """Five nodes and three clients that never rest, with every invariant on. It begins in peace,
    with a leader that has committed something."""

    def __init__(
        self,
        seed: int,
        network: Network | None = None,
        protocol: Factory = SMALL,
        invariants: tuple[type[Invariant], ...] = INVARIANTS,
        **options: Any,
    ) -> None:
        client = partial(Client, choose=draw_command, pause=0.05, patience=0.1)
        clients: dict[int, Factory] = {**dict.fromkeys(CLIENTS, client), PROBE: Probe}
        self.sim = Simulation(
            protocol, 5, seed, None, network, invariants, clients, **{"spares": 1, **options}
        )
        self.everybody = range(5)
        self.expect(lambda: self.answered() >= 3, 10 * 2 * T, "answers at the beginning")

    # -- what there is

    def node(self, i: int) -> Any:
        return self.sim.node(i)

    @property
    def leader(self) -> int:
        leader = self.sim.leader()
        assert leader is not None, f"nobody leads at {self.sim.now:.2f} s"
        return leader

    def others(self, *but: int) -> list[int]:
        return [i for i in self.everybody if i not in but]

    def answered(self) -> int:
        """How many calls have returned so far."""
        return sum(
            c.returned is not None for client in clients_of(self.sim) for c in client.history
        )

    def committed(self) -> int:
        """As far as anyone alive knows."""
        return max(self.node(i).commit_index for i in self.everybody if self.sim.alive(i))

    # -- what is done

    def run(self, seconds: float) -> None:
        self.sim.run(seconds)

    def inject(self, *faults: Fault) -> None:
        for fault in faults:
            self.sim.inject(fault)

    def kill(self, *nodes: int) -> None:
        self.inject(*(Kill(i) for i in nodes))

    def restart(self, *nodes: int) -> None:
        self.inject(*(Restart(i) for i in nodes))

    def crash_in(self, i: int, effects: int, message: Message, sender: int = PROBE) -> None:
        """The power fails after so many effects of the handler of this message."""
        self.inject(CrashAt(i, effects))
        self.tell(i, message, sender)
        assert not self.sim.alive(i), f"rank {i} has no more than {effects} effects for {message}"

    def isolate(self, *nodes: int) -> None:
        self.inject(Partition((nodes, tuple(self.others(*nodes)))))

    def deafen(self, i: int) -> None:
        """It sends and does not hear the other nodes."""
        self.inject(*(Cut(j, i) for j in self.others(i)))

    def mute(self, i: int) -> None:
        """It hears and is not heard by the other nodes."""
        self.inject(*(Cut(i, j) for j in self.others(i)))

    def part(self, *pairs: tuple[int, int]) -> None:
        self.inject(*(Cut(*pair) for a, b in pairs for pair in ((a, b), (b, a))))

    def pause(self, i: int, seconds: float) -> None:
        self.inject(Pause(i, seconds))

    def heal(self) -> None:
        self.inject(Heal())

    def tell(self, to: int, message: Message, sender: int = PROBE) -> None:
        """The message arrives now."""
        self.sim._push(self.sim.now, self.sim._deliver, self.sim._nodes[to], sender, message)
        self.sim.run(0.0)

    # -- what is expected

    def expect(self, what: Callable[[], bool], within: float, name: str) -> None:
        assert self.sim.run_until(lambda _: what(), within), f"not within {within:.2f} s: {name}"

    def expect_leader(self, but: int | None = None, within: float = 10 * 2 * T) -> int:
        """E: somebody else leads in time, and in a later term than before."""

        def elected() -> bool:
            return any(i != but and self.leads(i) for i in self.everybody)

        self.expect(elected, within, "a new leader")
        return next(i for i in self.everybody if i != but and self.leads(i))

    def leads(self, i: int) -> bool:
        return self.sim.running(i) and self.node(i).role == LEADER

    @contextmanager
    def nothing_changes(self) -> Iterator[None]:
        """N: the same leader, the same term, and no election in between."""
        leader, term = self.leader, self.node(self.leader).term
        yield
        assert self.leader == leader
        assert self.node(leader).term == term

    def expect_standstill(self, seconds: float = 10 * T, grace: float = 0.0) -> None:
        """U: once `grace` has passed, no client gets an answer for so long."""
        self.run(grace)
        before = self.answered()
        self.run(seconds)
        assert self.answered() == before, "a client got an answer without a majority"

    def expect_service(self, calls: int = 10, within: float = 5.0) -> None:
        """Clients get so many more answers."""
        goal = self.answered() + calls
        self.expect(lambda: self.answered() >= goal, within, f"{calls} more answers")

    def peace(self) -> None:
        """All faults have ended, everyone is alive, and all logs are equal."""
        self.sim.heal()
        self.expect_leader()
        self.expect(self.agree, 3.0, "equal logs")

    def finish(self) -> None:
        """R, and K: all goes on, and what the clients saw can be explained."""
        self.peace()
        self.expect_service()
        raft_progress(self.sim)
        self.expect(self.agree, 3.0, "equal logs")
        self.sim.finish()

    def agree(self) -> bool:
        """Those that are voters, disk and all, have applied the same entries, to the last one."""
        leader = self.sim.leader()
        voters = self.node(leader).voters.items() if leader is not None else ()
        nodes = [self.node(i) for i, identity in voters if self.node(i).identity == identity]
        return len({n for v in nodes for n in (v.last_index, v.last_applied)}) == 1

    def in_log(self, i: int, index: int, term: int) -> bool:
        """Whether an entry is on the disk of a node, in its log or in its snapshot."""
        stored = self.sim.on_disk(i)
        log = stored.get("log")
        first, items = (log.first, log.items) if log else (1, [])
        return index < first or (
            index < first + len(items) and bool(items[index - first].term == term)
        )
