"""What atomic commit promises (J. Gray and L. Lamport, "Consensus on Transaction Commit", ACM TODS
2006, and the presumed-abort paper), on one coordinator or on a replicated one.

A transaction's end is an `Apply(transaction, commit)`; what else is applied (a replica applies the
entries of its log) is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.protocols.effects import Apply, Record
from labkit.protocols.two_phase_commit import Decision, Prepare, Voted
from labkit.protocols.two_phase_commit.messages import EPOCH
from labkit.protocols.two_phase_commit.replicated import Decide, Forget
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation

WORKING, PREPARED, COMMITTED, ABORTED = "working", "prepared", "committed", "aborted"


def word(commit: bool) -> str:
    return COMMITTED if commit else ABORTED


def is_end(apply: Apply) -> bool:
    return isinstance(apply.command, bool)


class Agreement(Invariant):
    name, title = "P-S1", "no two participants end a transaction differently"

    def __init__(self) -> None:
        self.ends: dict[int, tuple[int, bool]] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if is_end(apply):
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
        for m in values.get("prepared", ()):
            self.yes.setdefault(m.transaction, set()).add(i)

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.name == "decides to commit":
            transaction = record.data["transaction"]
            everyone = set(sim.node(i).committed[transaction])
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
        self.decisions: dict[int, tuple[int, str]] = {}

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if is_end(apply):
            before = self.ends.setdefault((i, apply.index), apply.command)
            if before != apply.command:
                raise Violation(
                    self,
                    f"rank {i} had {word(before)} transaction {apply.index} and now has "
                    f"{word(apply.command)} it",
                )

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.name.startswith("decides to"):
            transaction = record.data["transaction"]
            first, before = self.decisions.setdefault(transaction, (i, record.name))
            if before != record.name:
                what = f"rank {first} {before} transaction {transaction}, rank {i} {record.name}"
                raise Violation(self, what)


class NotAlone(Invariant):
    name, title = "P-S4", "who has voted yes does not abort alone"
    watches = (Decision,)

    def __init__(self) -> None:
        self.told: set[tuple[int, int]] = set()

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.told.add((i, m.transaction))

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if is_end(apply) and (i, apply.index) not in self.told:
            raise Violation(
                self, f"rank {i} has {word(apply.command)} transaction {apply.index} by itself"
            )


class DurableDecision(Invariant):
    """On the coordinator's disk, or chosen in the log: on the disks of a majority of replicas."""

    name, title = "P-S5", "a commit is durable before anyone can learn of it"
    watches = (Decision,)

    def __init__(self) -> None:
        self.durable: set[int] = set()

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        self.durable.update(transaction for transaction, _ in values.get("committed", ()))
        self.durable.update(t for t, commit in values.get("ended", ()) if commit)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if m.commit and m.transaction not in self.durable:
            if not self.is_durable(sim, i, m.transaction):
                raise Violation(
                    self,
                    f"rank {i} tells rank {to} that transaction {m.transaction} is committed, "
                    "which stands on no disk, or on too few",
                )
            self.durable.add(m.transaction)

    def is_durable(self, sim: Simulation, i: int, transaction: int) -> bool:
        """Whether a majority of the members' disks have the decision to commit in their logs."""
        return 2 * sum(has_chosen(sim.on_disk(m), transaction) for m in sim.members) > sim.n


def has_chosen(disk: Mapping[str, Any], transaction: int) -> bool:
    entries = disk["log"].items if "log" in disk else ()
    state = disk["snapshot"].state if "snapshot" in disk else {"committed": ()}
    decisions = {e.command.transaction for e in entries if isinstance(e.command, Decide)}
    return transaction in decisions | {t for t, _ in state["committed"]}


class DurableVote(Invariant):
    name, title = "P-S6", "a yes is durable before it is sent"
    watches = (Voted,)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        promised = [p.transaction for p in sim.on_disk(i).get("prepared", ())]
        if m.yes and m.transaction not in promised:
            raise Violation(
                self,
                f"rank {i} votes yes on transaction {m.transaction}, and its disk does not say so",
            )


class Fenced(Invariant):
    name, title = "P-S7", "what belongs to one attempt has no part in another"
    watches = (Prepare,)

    def __init__(self) -> None:
        self.asked: dict[int, Prepare] = {}
        self.prepared: dict[int, set[int]] = {}  # by participant, what is on its disk
        self.fence: dict[int, int] = {}  # by participant, the latest on which it has had its say

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if self.asked.setdefault(m.transaction, m) != m:
            what = f"rank {i} uses the number {m.transaction} again, for another transaction"
            raise Violation(self, what)

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        if record.name.startswith("decides to"):
            transaction, epoch = record.data["transaction"], sim.node(i).epoch
            if transaction // EPOCH != epoch:
                what = f"rank {i} {record.name} transaction {transaction}, in epoch {epoch}"
                raise Violation(self, what)

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        fence = self.fence.get(i, 0)
        if "prepared" in values:
            prepared = {m.transaction for m in values["prepared"]}
            late = [t for t in sorted(prepared - self.prepared.get(i, set())) if t <= fence]
            if late:
                what = f"rank {i} prepares {late}, after it has had its say on {fence}"
                raise Violation(self, what)
            self.prepared[i] = prepared
            fence = max([fence, *prepared])
        self.fence[i] = max(fence, values.get("fence", 0))


class Refinement(Invariant):
    """Whatever the disks show is a run of TCommit, Gray and Lamport's definition of the problem."""

    name, title = "P-S9", "every step is one that atomic commit allows"
    watches = (Prepare,)

    def __init__(self) -> None:
        self.rm: dict[int, dict[int, str]] = {}  # rmState, by transaction and participant

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if m.transaction not in self.rm:
            self.rm[m.transaction] = dict.fromkeys(m.participants, WORKING)
            for p in m.participants:
                self.look(m.transaction, p, sim.on_disk(p))

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        if "fence" in values or "prepared" in values:
            for transaction in tuple(self.rm):
                if i in self.rm[transaction]:
                    self.look(transaction, i, sim.on_disk(i))

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if is_end(apply) and apply.index in self.rm:
            self.step(apply.index, i, word(apply.command))

    def look(self, transaction: int, i: int, disk: Mapping[str, Any]) -> None:
        if self.rm[transaction][i] in (WORKING, PREPARED):
            self.step(transaction, i, rm_state(disk, transaction))

    def step(self, transaction: int, i: int, state: str) -> None:
        before = self.rm[transaction]
        after = before | {i: state}
        if not allowed(before, after):
            what = f"rank {i}, transaction {transaction}: {before[i]}, then {state}"
            raise Violation(self, f"{what}, while the states are {list(before.values())}")
        if {*after.values()} <= {COMMITTED, ABORTED}:
            del self.rm[transaction]
        else:
            self.rm[transaction] = after


def rm_state(disk: Mapping[str, Any], transaction: int) -> str:
    """What a participant's disk says about a transaction: TCommit's `rmState`."""
    if any(m.transaction == transaction for m in disk.get("prepared", ())):
        return PREPARED
    ended = dict(disk.get("ended", ()))
    if transaction in ended:
        return word(ended[transaction])
    return ABORTED if transaction <= disk.get("fence", 0) else WORKING


def allowed(before: Mapping[int, str], after: Mapping[int, str]) -> bool:
    """Whether this is a step of TCommit, or none at all."""
    changed = [p for p in before if before[p] != after[p]]
    if len(changed) != 1:
        return not changed
    match before[changed[0]], after[changed[0]]:
        case ("working", "prepared"):
            return True
        case ("prepared", "committed"):
            return {*before.values()} <= {PREPARED, COMMITTED}
        case ("working" | "prepared", "aborted"):
            return COMMITTED not in before.values()
    return False


class ForgetsLast(Invariant):
    name, title = "P-L4", "a coordinator forgets a commit when all have it, not before"

    def __init__(self) -> None:
        self.kept: dict[int, dict[int, tuple[int, ...]]] = {}

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        if "committed" in values:
            before, self.kept[i] = self.kept.get(i, {}), dict(values["committed"])
            for transaction in before.keys() - self.kept[i].keys():
                self.judge(sim, i, transaction, before[transaction])

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        kept = self.kept.setdefault(-1, {})  # what the replicas' log says, whoever applies it
        match apply.command:
            case Decide(transaction, participants):
                kept.setdefault(transaction, participants)
            case Forget(transaction) if kept.get(transaction):
                self.judge(sim, i, transaction, kept[transaction])
                kept[transaction] = ()

    def judge(
        self, sim: Simulation, i: int, transaction: int, participants: tuple[int, ...]
    ) -> None:
        lacking = [p for p in participants if rm_state(sim.on_disk(p), transaction) != COMMITTED]
        if lacking:
            what = f"rank {i} forgets transaction {transaction}, which ranks {lacking} do not have"
            raise Violation(self, what)


INVARIANTS: tuple[type[Invariant], ...] = (
    *(Agreement, Validity, Stability, NotAlone, DurableDecision, DurableVote, Fenced, Refinement),
    ForgetsLast,
)
