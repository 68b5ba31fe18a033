"""What atomic commit promises (J. Gray and L. Lamport, "Consensus on Transaction Commit", ACM TODS
2006, and the presumed-abort paper)."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Apply, Record
from labkit.protocols.two_phase_commit import Decision, Participant, Voted
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation


def word(commit: bool) -> str:
    return "committed" if commit else "aborted"


class Agreement(Invariant):
    name, title = "P-S1", "no two participants end a transaction differently"

    def __init__(self) -> None:
        self.ends: dict[int, tuple[int, bool]] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        first, commit = self.ends.setdefault(apply.index, (i, apply.command))
        if commit != apply.command:
            raise Violation(
                self,
                f"rank {i} has {word(apply.command)} transaction {apply.index}, "
                f"which rank {first} has {word(commit)}",
            )


class Validity(Invariant):
    name, title = "P-S2", "a commit needs the durable yes of everyone"

    def __init__(self) -> None:
        self.yes: dict[int, set[int]] = {}

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        for transaction in values.get("prepared", ()):
            self.yes.setdefault(transaction, set()).add(i)

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.name == "decides to commit":
            transaction = record.data["transaction"]
            everyone = set(sim.node(i).participants)
            missing = sorted(everyone - self.yes.get(transaction, set()))
            if missing:
                raise Violation(
                    self,
                    f"rank {i} commits transaction {transaction}, which ranks {missing} have "
                    "not prepared",
                )


class Stability(Invariant):
    name, title = "P-S3", "a decision never changes"

    def __init__(self) -> None:
        self.ends: dict[tuple[int, int], bool] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        before = self.ends.setdefault((i, apply.index), apply.command)
        if before != apply.command:
            raise Violation(
                self,
                f"rank {i} had {word(before)} transaction {apply.index} and now has "
                f"{word(apply.command)} it",
            )


class NotAlone(Invariant):
    name, title = "P-S4", "who has voted yes does not abort alone"
    watches = (Decision,)

    def __init__(self) -> None:
        self.told: set[tuple[int, int]] = set()

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.told.add((i, m.transaction))

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if (i, apply.index) not in self.told:
            raise Violation(
                self, f"rank {i} has {word(apply.command)} transaction {apply.index} by itself"
            )


class DurableDecision(Invariant):
    name, title = "P-S5", "a commit is durable before anyone can learn of it"
    watches = (Decision,)

    def __init__(self) -> None:
        self.durable: set[int] = set()

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        self.durable.update(values.get("committed", ()))
        self.durable.update(t for t, commit in values.get("ended", ()) if commit)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if m.commit and m.transaction not in self.durable:
            raise Violation(
                self,
                f"rank {i} tells rank {to} that transaction {m.transaction} is committed, "
                "which stands on no disk",
            )


class DurableVote(Invariant):
    name, title = "P-S6", "a yes is durable before it is sent"
    watches = (Voted,)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if m.yes and m.transaction not in sim.on_disk(i).get("prepared", ()):
            raise Violation(
                self,
                f"rank {i} votes yes on transaction {m.transaction}, and its disk does not say so",
            )


class Resolved(Invariant):
    """A premised liveness: judged when all is well."""

    name, title = "P-L1", "every participant learns the decision when all is well"

    @staticmethod
    def judge(sim: Simulation, within: float) -> None:
        def nobody_in_doubt(sim: Simulation) -> bool:
            return not any(doubts(sim).values())

        if not sim.run_until(nobody_in_doubt, within):
            waiting = {i: t for i, t in doubts(sim).items() if t}
            raise Violation(Resolved(), f"in doubt {within:g} s after all has healed: {waiting}")


def doubts(sim: Simulation) -> dict[int, tuple[int, ...]]:
    """By participant, the transactions that it is in doubt about."""
    nodes = sim.nodes.items()
    return {i: node.in_doubt for i, node in nodes if isinstance(node, Participant)}


class Forgets(Invariant):
    """A coordinator's disk does not grow for ever."""

    name, title = "P-L4", "a coordinator forgets what everyone has acknowledged"

    @staticmethod
    def judge(sim: Simulation, within: float) -> None:
        def forgotten(sim: Simulation) -> bool:
            return not any(sim.on_disk(i).get("committed") for i in range(sim.n))

        if not sim.run_until(forgotten, within):
            kept = {i: sim.on_disk(i).get("committed") for i in range(sim.n)}
            raise Violation(Forgets(), f"still kept {within:g} s after all has healed: {kept}")


INVARIANTS: tuple[type[Invariant], ...] = (
    *(Agreement, Validity, Stability, NotAlone, DurableDecision, DurableVote),
)
