"""What Raft promises, checked after every event: the paper's figure 3, and what follows from it.

They see every node, every disk and the wire, and remember the whole history: two leaders of one
term are a violation also when they lead one after the other. Each looks only at what the event may
have changed, so that a message costs a few microseconds with all of them on.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Apply, Splice, Stored
from labkit.protocols.raft.election import LEADER, RequestVote, Vote
from labkit.protocols.raft.log import Appended, AppendEntries, Entry
from labkit.protocols.raft.membership import Configuration
from labkit.protocols.raft.pre_vote import PreVoted, RequestPreVote
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation


def disk_log(stored: dict[str, Any]) -> tuple[int, list[Entry]]:
    """The index of the first entry on a disk, and the entries."""
    log = stored.get("log")
    return (log.first, log.items) if log is not None else (1, [])


class ElectionSafety(Invariant):
    name, title = "R-S1", "Election Safety"
    watches = (AppendEntries,)

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}  # by term, over the whole history

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        """Whoever is elected says so at once, and only a leader says it."""
        first = self.leaders.setdefault(m.term, i)
        if first != i:
            raise Violation(self, f"rank {i} leads term {m.term}, which rank {first} has led")


class LogRules(Invariant):
    """The rules for what is written: by a leader only at the end, and by nobody something else
    than stands in another log at the same index and term."""

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


class LeaderAppendOnly(Invariant):
    name, title = "R-S2", "Leader Append-Only"

    def __init__(self) -> None:
        self.led: dict[int, tuple[int, int]] = {}  # by leader: its term, and its last index

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.led.pop(i, None)

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        change = values.get("log")
        node = sim.node(i)
        if isinstance(change, Splice) and i in self.led and node.role == LEADER:
            term, last = self.led[i]
            if term == node.term and change.start <= last:
                raise Violation(
                    self, f"rank {i}, leader of term {term}, overwrites its entry {change.start}"
                )

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if node.role == LEADER:
            self.led[i] = node.term, node.last_index
        elif i in self.led:
            del self.led[i]


class LeaderCompleteness(Invariant):
    """Also R-S9: what a leader commits is on the disks of a majority, by an entry of its term."""

    name, title = "R-S4", "Leader Completeness"

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


class CommitRule(Invariant):
    name, title = "R-S9", "a leader commits what a majority has, by an entry of its own term"

    def __init__(self) -> None:
        self.commit: dict[int, int] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.commit[i] = node.commit_index

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        index = node.commit_index
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
        voters = dict(node.configurations[-1][1])
        holders = [j for j in voters if self.has(sim, j, voters[j], index, term)]
        if 2 * len(holders) <= len(voters):
            raise Violation(
                self,
                f"rank {i} commits entry {index} of term {term}, which is on the disks of "
                f"{holders} of the voters {sorted(voters)}",
            )

    @staticmethod
    def has(sim: Simulation, j: int, identity: int, index: int, term: int) -> bool:
        if sim.on_disk(j).get("identity") != identity:
            return True  # it had it, as far as anyone can know, and has lost its disk since
        first, items = disk_log(sim.on_disk(j))
        if index < first:
            return True  # in a snapshot
        return index < first + len(items) and items[index - first].term == term


class StateMachineSafety(Invariant):
    name, title = "R-S5", "State Machine Safety"

    def __init__(self) -> None:
        self.commands: dict[int, Any] = {}
        self.states: dict[int, Any] = {}
        self.applied_by: dict[int, int] = {}
        self.compared: dict[int, int] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.applied_by[i] = self.compared[i] = node.last_applied

    def applied(self, sim: Simulation, i: int, apply: Apply) -> None:
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
            state = (dict(node.machine.values), dict(node.sessions))
            known = self.states.setdefault(index, state)
            if known != state:
                raise Violation(
                    self, f"rank {i} has another state than others had after entry {index}"
                )

    @staticmethod
    def snapshot_of(sim: Simulation, i: int) -> int:
        snapshot = sim.on_disk(i).get("snapshot")
        return snapshot.index if snapshot is not None else 0


class Monotone(Invariant):
    name, title = "R-S6", "terms and commits only grow"

    def __init__(self) -> None:
        self.term: dict[int, int] = {}
        self.commit: dict[int, int] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        if node.term < self.term.get(i, 0) and sim.on_disk(i).get("identity") is not None:
            raise Violation(
                self, f"rank {i} restarts in term {node.term} after it was in {self.term[i]}"
            )
        self.term[i], self.commit[i] = node.term, node.commit_index

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        term, commit = node.term, node.commit_index
        if term < self.term[i]:
            raise Violation(self, f"rank {i} goes from term {self.term[i]} back to {term}")
        if commit < self.commit[i]:
            raise Violation(self, f"rank {i} goes from commit {self.commit[i]} back to {commit}")
        if not node.last_applied <= commit <= node.snapshot.index + len(node.log):
            raise Violation(
                self,
                f"rank {i} has applied {node.last_applied}, committed {commit} and has "
                f"{node.last_index} entries",
            )
        self.term[i], self.commit[i] = term, commit


class OneVote(Invariant):
    name, title = "R-S7", "one vote in a term"
    watches = (Vote, RequestVote)

    def __init__(self) -> None:
        self.votes: dict[tuple[int, int, int], int] = {}

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if isinstance(m, Vote) and not m.granted:
            return
        candidate = to if isinstance(m, Vote) else i
        disk = sim.node(i).identity  # a new one forgets, and its votes do not count
        first = self.votes.setdefault((i, disk, m.term), candidate)
        if first != candidate:
            raise Violation(
                self, f"rank {i} voted twice in term {m.term}: for {first} and for {candidate}"
            )


class DurableAnswers(Invariant):
    name, title = "R-S8", "what is said is on the disk"
    watches = (Vote, RequestVote, Appended)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        disk = sim.on_disk(i)
        if isinstance(m, Appended):
            if m.success:
                first, items = disk_log(disk)
                if m.index >= first + len(items) or disk.get("term") != m.term:
                    raise Violation(
                        self,
                        f"rank {i} tells rank {to} that it has entry {m.index} in term {m.term}; "
                        f"its disk ends at {first + len(items) - 1}, term {disk.get('term')}",
                    )
            return
        candidate = to if isinstance(m, Vote) else i
        if isinstance(m, Vote) and not m.granted:
            return
        if (disk.get("term"), disk.get("voted_for")) != (m.term, candidate):
            raise Violation(
                self,
                f"rank {i} votes for {candidate} in term {m.term}, but its disk says term "
                f"{disk.get('term')}, vote {disk.get('voted_for')}",
            )


class Replication(Invariant):
    """R-S10 and R-S11, and of R-S12 that a leader commits what it can."""

    name, title = "R-S10", "a leader knows no more of a follower than there is"

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, dict[int, int], dict[int, int]]] = {}

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if node.role != LEADER:
            return
        match, nexts = node.match_index, node.next_index
        term, old_match, old_next = self.known.get(i, (0, {}, {}))
        if term == node.term and match == old_match and nexts == old_next:
            return
        for j, index in match.items():
            if nexts[j] <= index:
                raise Violation(
                    self, f"rank {i} would send entry {nexts[j]} to {j}, which has {index}"
                )
            if term == node.term and index < old_match.get(j, 0):
                raise Violation(self, f"rank {i} forgets that rank {j} has entry {old_match[j]}")
            if index != old_match.get(j) or term != node.term:
                self.compare(sim, i, node, j, index)
        index = node.majority_index()
        if index > node.commit_index and node.term_at(index) == node.term:
            raise Violation(self, f"rank {i} could commit entry {index} and does not")
        self.known[i] = node.term, dict(match), dict(nexts)

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


class Persistent(Invariant):
    name, title = "R-S12", "memory and disk agree; a term's leader is one"

    def __init__(self) -> None:
        self.leader: dict[int, tuple[int, int]] = {}
        self.compared: dict[int, tuple[int, int | None, int | None]] = {}

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        self.compared.pop(i, None)

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        now = (node.term, node.voted_for, node.leader)
        if self.compared.get(i) == now:
            return
        self.compared[i] = now
        disk = sim.on_disk(i)
        if node.term != disk.get("term", 0) or node.voted_for != disk.get("voted_for"):
            raise Violation(
                self,
                f"rank {i} is in term {node.term} with its vote for {node.voted_for}; its disk "
                f"says term {disk.get('term', 0)}, vote {disk.get('voted_for')}",
            )
        if node.leader is not None:
            term, leader = self.leader.get(i, (0, 0))
            if term == node.term and leader != node.leader:
                raise Violation(
                    self, f"rank {i} follows {leader} and then {node.leader} in term {term}"
                )
            self.leader[i] = node.term, node.leader


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


class PreVoteIsFree(Invariant):
    name, title = "R-S15", "a PreVote changes no term and no vote"
    watches = (RequestPreVote, PreVoted)

    def __init__(self) -> None:
        self.before: dict[int, tuple[int, int | None]] = {}

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        node = sim.node(i)
        self.before[i] = node.term, node.voted_for

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        node = sim.node(i)
        if isinstance(m, PreVoted) and self.before[i] != (node.term, node.voted_for):
            raise Violation(self, f"rank {i} had term and vote {self.before[i]} before a PreVote")


class StepsDown(Invariant):
    """A leader that a majority has not answered for 2 T sends no more beats (CheckQuorum).

    T is an election time-out of the slowest clock; a leader that was paused gets as long again.
    """

    name, title = "R-L4", "a leader without a majority steps down"
    watches = (AppendEntries, Appended)
    slack = 1.6

    def __init__(self) -> None:
        self.heard: dict[int, dict[int, float]] = {}  # by leader and follower
        self.look_at: dict[int, float] = {}  # not at each of many sends at once
        self.since: dict[int, tuple[tuple[int, int], float]] = {}  # term, configuration; its begin

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        if isinstance(m, Appended):
            self.heard.setdefault(i, {})[sender] = sim.now

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if not isinstance(m, AppendEntries):
            return
        if sim.now < self.look_at.get(i, 0.0):
            return
        node = sim.node(i)
        self.look_at[i] = sim.now + node.timeout / 10
        reign, since = self.since.get(i, ((0, 0), 0.0))
        if reign != (m.term, node.configurations[-1][0]):
            self.since[i] = (m.term, node.configurations[-1][0]), sim.now
            return
        limit = 2 * node.timeout * self.slack
        begin = max(since, sim.resumed(i))
        if sim.now - begin <= limit:
            return
        heard = self.heard.get(i, {})
        recent = [j for j in node.voters if j == i or heard.get(j, -1.0) >= sim.now - limit]
        if 2 * len(recent) <= len(node.voters):
            raise Violation(
                self,
                f"rank {i} leads term {m.term}; for {limit:.2f} s only {recent} of its voters "
                f"{sorted(node.voters)} have answered",
            )


INVARIANTS: tuple[type[Invariant], ...] = (
    *(ElectionSafety, LeaderAppendOnly, LogRules, LeaderCompleteness, StateMachineSafety),
    *(Monotone, OneVote, DurableAnswers, CommitRule, Replication, Persistent, OneAtATime),
    *(PreVoteIsFree, StepsDown),
)
