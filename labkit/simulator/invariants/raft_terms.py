"""What Raft promises of terms, votes and leaders: one leader in a term, one vote, and nothing said
that the disk does not say as well."""

from __future__ import annotations

from typing import Any

from labkit.protocols.raft.messages import (
    Appended,
    AppendEntries,
    Heartbeat,
    RequestVote,
    Vote,
)
from labkit.protocols.raft.pre_vote import PreVoted, RequestPreVote
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.invariants.raft_log import disk_log
from labkit.simulator.simulation import Simulation


class ElectionSafety(Invariant):
    name, title = "R-S1", "Election Safety"
    watches = (AppendEntries, Heartbeat)  # the second is of an election without a log

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}  # by term, over the whole history

    def says(self, sim: Simulation, i: int, node: Any, m: Any) -> None:
        """Whoever is elected says so at once, and only a leader says it."""
        first = self.leaders.setdefault(m.term, i)
        if first != i:
            raise Violation(self, f"rank {i} leads term {m.term}, which rank {first} has led")


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


class Monotone(Invariant):
    name, title = "R-S6", "terms and commits only grow"
    looks_at = ("term", "commit_index", "last_applied")

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


class Persistent(Invariant):
    name, title = "R-S12", "memory and disk agree; a term's leader is one"
    looks_at = ("term", "voted_for", "leader")

    def __init__(self) -> None:
        self.leader: dict[int, tuple[int, int]] = {}  # by node: a term, and who it says leads it

    def after(self, sim: Simulation, i: int, node: Any) -> None:
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
