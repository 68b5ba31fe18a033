"""What Raft promises of its log: an entry is the same in all logs, what is committed stays, and all
nodes apply the same."""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Apply, Splice, Stored
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.membership import Configuration
from labkit.protocols.raft.messages import Entry
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation


def disk_log(stored: dict[str, Any]) -> tuple[int, list[Entry]]:
    """The index of the first entry on a disk, and the entries."""
    log = stored.get("log")
    return (log.first, log.items) if log is not None else (1, [])


class LeaderAppendOnly(Invariant):
    name, title = "R-S2", "Leader Append-Only"

    def __init__(self) -> None:
        self.last: dict[int, int] = {}  # by node: the last index on its disk

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.last[i] = node.last_index

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        if "log" not in values:
            return
        change, node = values["log"], sim.node(i)
        if isinstance(change, Splice) and change.start <= self.last[i] and node.role == LEADER:
            raise Violation(
                self, f"rank {i}, leader of term {node.term}, overwrites its entry {change.start}"
            )
        first, items = disk_log(sim.on_disk(i))
        self.last[i] = first + len(items) - 1


class LogRules(Invariant):
    """Nobody writes something else than stands in another log at the same index and term, or
    behind another entry."""

    name, title = "R-S3", "Log Matching"

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], tuple[int, Any]] = {}  # index, term: term before, command

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        change = values.get("log")
        if not isinstance(change, Splice):
            return
        stored = sim.on_disk(i)
        first, items = disk_log(stored)
        for index in range(change.start, change.start + len(change.items)):
            entry = items[index - first]
            if index > first:
                before = items[index - first - 1].term
            else:
                before = stored["snapshot"].term if "snapshot" in stored else 0
            known = self.seen.setdefault((index, entry.term), (before, entry.command))
            if known != (before, entry.command):
                raise Violation(
                    self,
                    f"rank {i} has {entry.command} after an entry of term {before} at index "
                    f"{index} of term {entry.term}, where another log has {known[1]} after one "
                    f"of term {known[0]}",
                )


class LeaderCompleteness(Invariant):
    """An entry is chosen when a leader commits it: whoever leads a later term has it."""

    name, title = "R-S4", "Leader Completeness"
    looks_at = ("role", "term", "commit_index")

    def __init__(self) -> None:
        self.chosen: list[tuple[int, int]] = []  # by index - 1: the entry's term, the leader's term
        self.terms: dict[int, int] = {}  # the last term that each node has led

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if node.role != LEADER:
            return
        if self.terms.get(i) != node.term:
            self.terms[i] = node.term
            self.elected(i, node)
        while len(self.chosen) < node.commit_index:
            index = len(self.chosen) + 1
            term = node.term_at(index) if index >= node.snapshot.index else 0
            self.chosen.append((term, node.term))

    def elected(self, i: int, node: Any) -> None:
        index = len(self.chosen)
        while index and self.chosen[index - 1][1] >= node.term:
            index -= 1  # chosen by a later leader than this one
        if index and not node.has(index, self.chosen[index - 1][0]):
            raise Violation(
                self,
                f"rank {i} leads term {node.term} without entry {index} of term "
                f"{self.chosen[index - 1][0]}, which was committed in term "
                f"{self.chosen[index - 1][1]}",
            )


class StateMachineSafety(Invariant):
    name, title = "R-S5", "State Machine Safety"
    looks_at = ("last_applied",)

    def __init__(self) -> None:
        self.commands: dict[int, Any] = {}
        self.states: dict[int, Any] = {}
        self.applied_by: dict[int, int] = {}
        self.compared: dict[int, int] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.applied_by[i] = self.compared[i] = node.last_applied

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
        if i not in self.applied_by:
            return  # a client beside the voters, which has no log
        index, command = apply.index, apply.command
        expected = max(self.applied_by[i], self.snapshot_of(sim, i)) + 1
        if index != expected and index != self.applied_by[i] + 1:
            raise Violation(self, f"rank {i} applies entry {index}, but {expected} is next")
        self.applied_by[i] = index
        known = self.commands.setdefault(index, command)
        if known != command:
            raise Violation(
                self, f"rank {i} applies {command} as entry {index}, where another applied {known}"
            )

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        index = node.last_applied
        if index != self.compared[i]:
            self.compared[i] = index
            state = (node.machine.snapshot(), dict(node.sessions))
            known = self.states.setdefault(index, state)
            if known != state:
                raise Violation(
                    self, f"rank {i} has another state than others had after entry {index}"
                )

    @staticmethod
    def snapshot_of(sim: Simulation, i: int) -> int:
        snapshot = sim.on_disk(i).get("snapshot")
        return snapshot.index if snapshot is not None else 0


class CommitRule(Invariant):
    name, title = "R-S9", "a leader commits what a majority has, by an entry of its own term"
    looks_at = ("commit_index",)

    def __init__(self) -> None:
        self.commit: dict[int, int] = {}
        self.voters: dict[int, Any] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.commit[i] = node.commit_index
        self.voters[i] = node.configurations[-1][1]

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        index = node.commit_index
        before, self.voters[i] = self.voters[i], node.configurations[-1][1]
        if index == self.commit[i]:
            return
        self.commit[i] = index
        if node.role != LEADER or index <= node.snapshot.index:
            return
        term = node.term_at(index)
        if term != node.term:
            raise Violation(
                self, f"rank {i}, leader of term {node.term}, commits entry {index} of term {term}"
            )
        # A leader that is alone may commit, and take in another voter, in one handler.
        either = before, self.voters[i]
        if not any(self.has_majority(sim, voters, index, term) for voters in either):
            voters = dict(self.voters[i])
            holders = [j for j in voters if self.has(sim, j, voters[j], index, term)]
            raise Violation(
                self,
                f"rank {i} commits entry {index} of term {term}, which is on the disks of "
                f"{holders} of the voters {sorted(voters)}",
            )

    def has_majority(self, sim: Simulation, voters: Any, index: int, term: int) -> bool:
        holders = sum(self.has(sim, j, identity, index, term) for j, identity in voters)
        return 2 * holders > len(voters)

    @staticmethod
    def has(sim: Simulation, j: int, identity: int, index: int, term: int) -> bool:
        disk = sim.on_disk(j)
        if disk.get("identity") != identity:
            return True  # it had it, as far as anyone can know, and has lost its disk since
        first, items = disk_log(disk)
        if index < first:
            return True  # in a snapshot
        return index < first + len(items) and items[index - first].term == term


class Replication(Invariant):
    name, title = "R-S10", "a leader knows no more of a follower than there is"

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, dict[int, int]]] = {}  # by leader: a term, matchIndex

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if node.role != LEADER:
            return
        match = node.match_index
        term, old_match = self.known.get(i, (0, {}))
        if term != node.term:
            old_match = {}
        if match == old_match:
            return
        for j, index in match.items():
            before = old_match.get(j, 0)
            if index < before:
                raise Violation(self, f"rank {i} forgets that rank {j} has entry {before}")
            if index > before:
                self.compare(sim, i, node, j, index)
        self.known[i] = node.term, dict(match)

    def compare(self, sim: Simulation, i: int, node: Any, j: int, index: int) -> None:
        disk = sim.on_disk(j)
        first, items = disk_log(disk)
        if j in node.voters and disk.get("identity") != node.voters[j]:
            return  # it has lost its disk since it answered
        if disk.get("term", 0) > node.term or index < max(first, node.snapshot.index + 1):
            return
        there = items[index - first].term if index < first + len(items) else None
        if there != node.term_at(index):
            raise Violation(
                self,
                f"rank {i} believes that rank {j} has its entry {index} of term "
                f"{node.term_at(index)}; the disk of {j} has {there or 'nothing'} there",
            )


class NextIndex(Invariant):
    name, title = "R-S11", "a leader sends nobody what it knows to be there"

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if node.role == LEADER:
            nexts = node.next_index
            for j, index in node.match_index.items():
                if nexts[j] <= index:
                    raise Violation(
                        self, f"rank {i} would send entry {nexts[j]} to {j}, which has {index}"
                    )


class CommitsAll(Invariant):
    name, title = "R-S12", "a leader commits whatever it can"

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, int]] = {}  # by leader: a term, and how much others have

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if node.role != LEADER:
            return
        has = node.term, sum(node.match_index.values())
        if self.seen.get(i) == has:
            return
        self.seen[i] = has
        index = node.majority_index()
        if index > node.commit_index and node.term_at(index) == node.term:
            raise Violation(self, f"rank {i} could commit entry {index} and does not")


class OneAtATime(Invariant):
    name, title = "R-S13", "one change of the voters at a time"

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        change = values.get("log")
        if not isinstance(change, (Splice, Stored)):
            return
        node = sim.node(i)
        for place, entry in enumerate(change.items):
            if isinstance(entry.command, Configuration):
                index = (change.start if isinstance(change, Splice) else change.first) + place
                self.look(i, node, index, entry)

    def look(self, i: int, node: Any, index: int, entry: Any) -> None:
        before = [set(voters) for at, voters in node.configurations if at < index]
        if before and before[-1] and len(before[-1] ^ set(entry.command.voters)) > 1:
            raise Violation(
                self, f"rank {i} goes from voters {sorted(before[-1])} to {entry.command.voters}"
            )
        if node.role == LEADER and entry.term == node.term:
            pending = [at for at, _ in node.configurations if node.commit_index < at < index]
            if pending:
                raise Violation(
                    self, f"rank {i} begins a change while entry {pending[-1]} is under way"
                )
            earlier = node.term_at(node.commit_index)
            if earlier != node.term:
                raise Violation(
                    self,
                    f"rank {i} changes the voters before it has committed an entry of its term "
                    f"{node.term}",
                )
