"""What a group of Raft owes those who use it, as far as one event can show it: a leader that is of
no use steps down, who comes back does no harm, a transfer ends, nobody says more than is needed.

That a leader is elected and commands are committed once all is well (R-L1, R-L2, R-L5, R-L7) is
judged in the healing phase: `labkit.simulator.scenarios.raft_progress`.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.raft.election import LEADER, RequestVote
from labkit.protocols.raft.log import Appended, AppendEntries
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
    watches = (AppendEntries, InstallSnapshot, PreVoted, RequestVote)

    def __init__(self) -> None:
        self.heard: dict[int, tuple[int, int, float]] = {}  # leader, term, when on its own clock
        self.yes: dict[tuple[int, int], set[int]] = {}  # by candidate and term

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.heard.pop(i, None)

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        if isinstance(m, (AppendEntries, InstallSnapshot)):
            self.heard[i] = sender, m.term, sim.node(i).context.now

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        node = sim.node(i)
        if isinstance(m, PreVoted) and m.granted:
            self.yes.setdefault((to, m.term), set()).add(i)
            leader, term, when = self.heard.get(i, (-1, -1, 0.0))
            recent = node.context.now - when < node.timeout and leader not in node.suspects
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
    watches = (AppendEntries, Appended)

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
        limit = 2 * node.timeout * SLACK
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


class TransferEnds(Invariant):
    """Within an election time-out the leader is another, or this one takes commands again."""

    name, title = "R-L6", "a transfer of leadership ends"
    watches = (AppendEntries, TransferLeadership)

    def __init__(self) -> None:
        self.begun: dict[int, float] = {}  # by leader: when it was last asked to

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        if isinstance(m, TransferLeadership):
            self.begun[i] = sim.now

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        node = sim.node(i)
        if not isinstance(m, AppendEntries) or node.transfer_to is None:
            return
        since = max(self.begun[i], sim.resumed(i))
        if sim.now - since > node.timeout * SLACK:
            raise Violation(
                self,
                f"rank {i} has taken no commands for {sim.now - since:.2f} s, since it is to hand "
                f"over to rank {node.transfer_to}",
            )


class Budget(Invariant):
    """A beat is one message to each other node, and so is a candidacy; and a leader sends more to a
    follower only after an answer that told it something."""

    name, title = "R-L8", "no more messages than are needed"
    watches = (AppendEntries, Appended, RequestVote)

    def __init__(self) -> None:
        self.asked: dict[tuple[int, int], int] = {}  # by candidate and term
        self.beats: dict[int, list[int]] = {}  # by leader: term, round, how many
        self.answer: tuple[int, int, Any, Any] | None = None  # now handled; known before

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        if isinstance(m, Appended):
            node = sim.node(i)
            known = node.match_index.get(sender), node.next_index.get(sender)
            self.answer = i, sender, *known

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        self.answer = None

    def crashed(self, sim: Simulation, i: int) -> None:
        self.answer = None

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        if isinstance(m, AppendEntries):
            node = sim.node(i)
            if self.answer is not None:
                known = node.match_index.get(to), node.next_index.get(to)
                if self.answer == (i, to, *known):
                    raise Violation(
                        self, f"rank {i} answers rank {to}, from which it has learned nothing new"
                    )
            if not m.entries:
                self.count_beat(i, len(node.others), m)
        elif isinstance(m, RequestVote):
            self.asked[i, m.term] = self.asked.get((i, m.term), 0) + 1
            if self.asked[i, m.term] > len(sim.node(i).others):
                raise Violation(self, f"rank {i} asks for a vote in term {m.term} again")

    def count_beat(self, i: int, others: int, m: AppendEntries) -> None:
        beat = self.beats.get(i)
        if beat is None or beat[0] != m.term or beat[1] != m.round:
            beat = self.beats[i] = [m.term, m.round, 0]
        beat[2] += 1
        if beat[2] > others:
            raise Violation(
                self, f"rank {i} says for the {beat[2]}th time in beat {m.round} that it leads"
            )
