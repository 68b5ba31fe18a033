"""What a group of Raft owes those who use it, as far as one event can show it: a leader that is of
no use steps down, who comes back does no harm, a transfer ends, nobody says more than is needed.

That a leader is elected and commands are committed once all is well (R-L1, R-L2, R-L5, R-L7) is
judged in the healing phase: `labkit.simulator.raft_progress`.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import Appended, AppendEntries, RequestVote
from labkit.protocols.raft.pre_vote import PreVoted
from labkit.protocols.raft.snapshots import InstallSnapshot
from labkit.protocols.raft.transfer import TransferLeadership
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation

SLACK = 1.6
"""How much longer than by a true clock a time-out may take: the slowest clock runs at 0.8."""


class RejoinsQuietly(Invariant):
    """A node stands only if a majority has said yes to it, and nobody who leads or hears a leader
    says yes: so who comes back from an isolation raises no term where all is well (PreVote)."""

    name, title = "R-L3", "who comes back deposes nobody"
    watches = (PreVoted, RequestVote)
    hears = (AppendEntries, InstallSnapshot)

    def __init__(self) -> None:
        self.heard: dict[int, tuple[int, int, float]] = {}  # leader, term, when
        self.yes: dict[tuple[int, int], set[int]] = {}  # by candidate and term

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.heard.pop(i, None)

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.heard[i] = sender, m.term, sim.now

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        node = sim.node(i)
        if isinstance(m, PreVoted) and m.granted:
            self.yes.setdefault((to, m.term), set()).add(i)
            leader, term, when = self.heard.get(i, (-1, -1, 0.0))
            recent = sim.now - when < node.timeout / SLACK and leader not in node.suspects
            if node.pre_vote and (
                node.role == LEADER or (recent and (leader, term) == (node.leader, node.term))
            ):
                raise Violation(
                    self, f"rank {i} would vote for rank {to} while rank {node.leader} leads"
                )
        elif isinstance(m, RequestVote) and node.pre_vote and not m.transfer:
            yes = {i, *self.yes.get((i, m.term), ())}
            if not node.is_quorum(yes):
                raise Violation(
                    self, f"rank {i} stands in term {m.term}, to which only {sorted(yes)} said yes"
                )


class StepsDown(Invariant):
    """A leader that a majority has not answered for 2 T sends no more beats (CheckQuorum).

    T is an election time-out of the slowest clock; a leader that was paused gets as long again.
    """

    name, title = "R-L4", "a leader without a majority steps down"
    watches = (AppendEntries,)
    hears = (Appended,)

    def __init__(self) -> None:
        self.heard: dict[tuple[int, int], float] = {}  # by leader and follower
        self.look_at: dict[int, float] = {}  # not at each of many sends at once
        self.since: dict[int, tuple[tuple[int, int], float]] = {}  # term, configuration; its begin

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.heard[i, sender] = sim.now

    def says(self, sim: Simulation, i: int, node: Any, m: Any) -> None:
        if sim.now < self.look_at.get(i, 0.0):
            return
        self.look_at[i] = sim.now + node.timeout / 10
        reign, since = self.since.get(i, ((0, 0), 0.0))
        if reign != (m.term, node.configurations[-1][0]):
            self.since[i] = (m.term, node.configurations[-1][0]), sim.now
            return
        limit = 2 * node.timeout * SLACK
        begin = max(since, sim.resumed(i))
        if sim.now - begin <= limit:
            return
        heard, begin = self.heard, sim.now - limit
        recent = [j for j in node.voters if j == i or heard.get((i, j), -1.0) >= begin]
        if 2 * len(recent) <= len(node.voters):
            raise Violation(
                self,
                f"rank {i} leads term {m.term}; for {limit:.2f} s only {recent} of its voters "
                f"{sorted(node.voters)} have answered",
            )


class TransferEnds(Invariant):
    """Within an election time-out the leader is another, or this one takes commands again."""

    name, title = "R-L6", "a transfer of leadership ends"
    watches = (AppendEntries,)
    hears = (TransferLeadership,)

    def __init__(self) -> None:
        self.begun: dict[int, float] = {}  # by leader: when it was last asked to

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.begun[i] = sim.now

    def says(self, sim: Simulation, i: int, node: Any, m: Any) -> None:
        if node.transfer_to is None:
            return
        since = max(self.begun[i], sim.resumed(i))
        if sim.now - since > node.timeout * SLACK:
            raise Violation(
                self,
                f"rank {i} has taken no commands for {sim.now - since:.2f} s, since it is to hand "
                f"over to rank {node.transfer_to}",
            )


class Budget(Invariant):
    """A leader says something to a follower for one of three reasons: a beat is due, its log has
    grown, or the follower has said what is new. So it never says the same twice. A beat then costs
    2 (n - 1) messages with its answers, and so do an election and the PreVote before it."""

    name, title = "R-L8", "no more messages than are needed"
    watches = (AppendEntries, InstallSnapshot, RequestVote)

    def __init__(self) -> None:
        self.said: dict[tuple[int, int], tuple[Any, float]] = {}  # by link: the last one, and when
        self.asked: dict[tuple[int, int], int] = {}

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if type(m) is AppendEntries:
            what = (m.round, m.prev_index, len(m.entries), len(sim.node(i).log), m.term)
            before, when = self.said.get((i, to), (None, 0.0))
            if before == what and when < sim.now:  # a beat may find something to append at once
                raise Violation(
                    self, f"rank {i} tells rank {to} again, in beat {m.round}, what it has told it"
                )
            self.said[i, to] = what, sim.now
        elif type(m) is RequestVote:
            if self.asked.get((i, to)) == m.term:
                raise Violation(self, f"rank {i} asks rank {to} twice for a vote in term {m.term}")
            self.asked[i, to] = m.term
        else:
            self.said.pop((i, to), None)  # what comes after it may have been said before it
