"""What Raft's clients see, and what must come about once all is well."""

from __future__ import annotations

from labkit.protocols.effects import Record
from labkit.protocols.raft.client import Client
from labkit.protocols.raft.machine import execute, notices
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.linearizability import check
from labkit.simulator.simulation import Simulation

ELECTED = 10 * 2 * 0.15
"""Seconds: ten of the longest time-outs."""
DEAF = 2.0
"""The second of the run from which on the first leader of `DEAF_RAFT` beats, and hears nothing."""


def clients_of(sim: Simulation) -> list[Client]:
    return [node for node in sim.nodes.values() if isinstance(node, Client)]


class Linearizable(Invariant):
    name, title = "R-S14", "what clients see is linearizable"

    def finished(self, sim: Simulation) -> None:
        history = [call for c in clients_of(sim) for call in c.history]
        verdict = check(history, execute, notices=notices)
        if not verdict:
            raise Violation(self, verdict.reason)


class LeaderElected(Invariant):
    name, title = "R-L1", "a leader is elected once all is well"


class Progress(Invariant):
    name, title = "R-L2", "commands are committed once all is well"


class OneTerm(Invariant):
    name, title = "R-L5", "no node is stuck in a later term than its leader"


class CatchesUp(Invariant):
    name, title = "R-L7", "who lags behind catches up once all is well"


def raft_progress(sim: Simulation) -> None:
    """Within ten election time-outs a leader (R-L1); then every client gets its answer (R-L2), and
    all voters come to be in the leader's term (R-L5) with all that it has applied (R-L7)."""
    if not sim.run_until(lambda s: s.leader() is not None, within=ELECTED):
        raise Violation(LeaderElected(), f"no leader {ELECTED:.1f} s after all has healed")
    for client in clients_of(sim):
        client.stopped = True

    def answered(s: Simulation) -> bool:
        return all(client.call is None for client in clients_of(s))

    if not sim.run_until(answered, within=5.0):
        waiting = [client.me for client in clients_of(sim) if client.call is not None]
        raise Violation(Progress(), f"clients {waiting} have waited 5 s for an answer")
    _expect_equal(sim, "term", OneTerm())
    _expect_equal(sim, "last_applied", CatchesUp())


def _expect_equal(sim: Simulation, what: str, invariant: Invariant) -> None:
    """All voters have the same `what` within 5 s."""

    def values(s: Simulation) -> dict[int, int]:
        leader = s.leader()
        voters = s.node(leader).voters.items() if leader is not None else ()
        # Whoever has lost its disk is not the voter that it was.
        return {i: getattr(s.node(i), what) for i, disk in voters if s.node(i).identity == disk}

    if not sim.run_until(lambda s: len(set(values(s).values())) == 1, within=5.0):
        raise Violation(invariant, f"after 5 s {what} is still {values(sim)}, by rank")


class ElectedBeside(LeaderElected):
    """Once the second leader is dead, those who hear one another elect a third: it is judged before
    anything has healed."""

    def __init__(self) -> None:
        self.elected: list[float] = []

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.name == "becomes leader":
            self.elected.append(sim.now)

    def finished(self, sim: Simulation) -> None:
        if not any(DEAF < at <= DEAF + ELECTED for at in self.elected):
            told = f"of ranks 0 to 4, three have heard one another for {ELECTED:.1f} s"
            raise Violation(self, f"{told}, and none leads: rank 0 led long ago, and beats on")
