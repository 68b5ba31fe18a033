"""The next view: who is connected with whom, as the hosts see it and the leader decides.

Each rank's host sees which connections to the others are open and says so to the leader. As soon as
the members of the view are not those that are connected with one another, the leader proposes the
next view: it shrinks at once, and grows when all that were launched are here and ready. Where a
connection was closed and is open again the next view has the same members: they have left their
group, and wait for it. A view is in force when it is committed, so that two halves of a network
never have two views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labkit.protocols.effects import Effects, Record, Send
from labkit.protocols.raft import Raft
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import Entry
from labkit.protocols.views.messages import (
    Announce,
    Connected,
    CurrentView,
    Expect,
    NextView,
    Report,
)
from labkit.view import Member

TIMEOUT_SECONDS = 0.3
"""Raft's T: a follower that has heard of no leader for T to 2T stands itself."""
DOUBT_SECONDS = 0.1
"""When one member says that it has lost another, while the leader is connected with both, it may be
that the leader will see that other die in a moment. If not, one of them has to go. Where silence is
a sign of death too, some notice it a beat or two before the others, and the doubt lasts longer."""


class Agreement(Raft):
    """`members` are the ranks and, last, the witness."""

    machine: Any  # a CurrentView

    def __init__(
        self,
        *arguments: Any,
        timeout: float = TIMEOUT_SECONDS,
        doubt: float = DOUBT_SECONDS,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, timeout=timeout, machine=CurrentView, **settings)
        self.doubt = doubt
        self.witness = max(self.members)
        # What this node's host sees
        self.life: Member | None = None
        self.connected: tuple[Member, ...] = ()
        self.ready = False
        self.broken = 0  # the last view in which it lost a connection to a member
        self.expected: tuple[Member, ...] | None = None
        self.count = 0  # of the reports
        self.view = NextView()  # the one that is installed here
        # Volatile state on leaders
        self.reports: dict[int, Report] = {}
        self.doubts: dict[tuple[Member, Member], float] = {}  # who has lost whom, and since when

    # -- what the own host says

    def on_connected(self, host: int, m: Connected) -> Effects:
        if host != self.me:
            return
        before, self.connected = self.connected, m.peers
        self.life, self.ready = m.me, m.ready
        for member in before:
            if member not in m.peers:
                if member in self.view.members:
                    self.broken = self.view.number
                yield from self.on_suspect(member.rank)
        for member in m.peers:
            self.on_trust(member.rank)
        self.count += 1
        if self.role == LEADER:
            new = [member.rank for member in m.peers if member not in before]
            yield from self.announce(new)  # who has just come need not wait for a beat to report
            yield from self.review()
        elif self.leader is not None:
            yield Send(self.leader, self.report())
        reason = self.why_no_quorum()
        if reason is not None and set(before) - set(m.peers):
            yield Record("pause", reason)

    def on_expect(self, host: int, m: Expect) -> Effects:
        if host == self.me:
            self.expected = m.members
            yield from self.review()

    # -- messages

    def on_announce(self, leader: int, m: Announce) -> Effects:
        yield from self.observe_term(m.term)
        yield from self.install(m.view)
        if m.term == self.term and self.role != LEADER:
            if self.leader != leader:
                yield from self.become_follower(leader)
            if m.heard != self.count and self.life is not None:
                yield Send(leader, self.report())

    def on_report(self, node: int, m: Report) -> Effects:
        known = self.reports.get(node)
        if self.role == LEADER and (known is None or (m.me, m.count) > (known.me, known.count)):
            self.reports[node] = m
            self.hear_doubts(m)
            yield from self.review()

    # -- timers

    def on_beat(self) -> Effects:
        yield from super().on_beat()
        if self.role == LEADER:
            yield from self.announce(self.peers)
            yield from self.review()

    # -- the leader

    def become_leader(self) -> Effects:
        self.reports, self.doubts = {}, {}
        yield from super().become_leader()
        yield from self.review()

    def announce(self, nodes: Iterable[int]) -> Effects:
        """Also to those that have no vote. It is sent to all again with every beat, and so asks for
        the reports that were lost."""
        for node in nodes:
            known = self.reports.get(node)
            heard = known.count if known is not None and known.me in self.connected else -1
            yield Send(node, Announce(self.term, self.machine.view, heard))

    def review(self) -> Effects:
        """Proposes the next view if the last one, also if it is not committed yet, is not right."""
        if self.role == LEADER and self.transfer_to is None and self.life is not None:
            self.reports[self.me] = self.report()
            last = self.last_view()
            members = self.right_members(last)
            if members != last.members or self.is_broken(last):
                yield from self.propose(NextView(last.number + 1, members))

    def last_view(self) -> NextView:
        for entry in reversed(self.log[self.last_applied - self.snapshot.index :]):
            if isinstance(entry.command, NextView):
                return entry.command
        return self.machine.view

    def right_members(self, last: NextView) -> tuple[Member, ...]:
        """Those that are connected with this leader and with one another. Of two that are not, the
        one stays that leads, or that has the lower rank."""
        stay = [member for member in last.members if self.is_here(member)]
        stay.sort(key=lambda member: (member.rank != self.me, member))
        all_linked: list[Member] = []
        for member in stay:
            if all(self.linked(member, other, last) for other in all_linked):
                all_linked.append(member)
        stay = list(all_linked)
        for member in self.newcomers(last):
            if all(self.linked(member, other, last) for other in all_linked):
                all_linked.append(member)
        complete = self.is_complete(all_linked)
        return tuple(sorted(all_linked if complete else stay))

    def newcomers(self, last: NextView) -> Iterator[Member]:
        for node, report in sorted(self.reports.items()):
            member = report.me
            new = node != self.witness and member not in last.members
            if new and report.ready and self.is_here(member):
                yield member

    def is_here(self, member: Member) -> bool:
        return member == self.life or member in self.connected

    def linked(self, a: Member, b: Member, last: NextView) -> bool:
        return self.sees(a, b, last) and self.sees(b, a, last)

    def sees(self, a: Member, b: Member, last: NextView) -> bool:
        """By a's last report. Members of the view have seen each other: they are believed to see
        each other still, until one of them has said no for a while."""
        report = self.reports.get(a.rank)
        if report is not None and report.me == a and b in report.peers:
            return True
        since = self.doubts.get((a, b), self.context.now)
        return a in last.members and b in last.members and self.context.now - since < self.doubt

    def hear_doubts(self, m: Report) -> None:
        """What a node says that has not installed this view is of the time before it."""
        last = self.last_view()
        for member in last.members if m.view == last.number else ():
            if member == m.me or member in m.peers:
                self.doubts.pop((m.me, member), None)
            else:
                self.doubts.setdefault((m.me, member), self.context.now)

    def is_complete(self, members: list[Member]) -> bool:
        """Whether all that are expected are among them, but for the lost and those not ready."""
        return self.expected is not None and all(
            member in members or member.rank in self.suspects or self.does_not_count(member)
            for member in self.expected
        )

    def does_not_count(self, member: Member) -> bool:
        report = self.reports.get(member.rank)
        warms_up = report is not None and report.me == member and not report.ready
        return member.rank == self.witness or warms_up

    def is_broken(self, view: NextView) -> bool:
        """Whether a member has lost a connection to another, and all is well between them again."""
        if any(a in view.members and b in view.members for a, b in self.doubts):
            return False
        reports = self.reports.values()
        return any(r.me in view.members and r.broken == view.number for r in reports)

    def why_no_quorum(self) -> str | None:
        """A sentence, if fewer than a majority of the voters are here."""
        if not self.voters or self.life is None:
            return None
        here = {self.me, *(member.rank for member in self.connected)}
        if self.is_quorum(here):
            return None
        missing = [node for node in self.voters if node not in here]
        there = ", ".join(self.called(node) for node in self.voters if node in here) or "nobody"
        return (
            f"{sum(node in here for node in self.voters)} of {len(self.voters)} voters are here "
            f"({there}): there is no next view until {' or '.join(map(self.called, missing))} "
            f"returns with its disk: cluster.restart({', '.join(map(str, missing))})"
        )

    def called(self, node: int) -> str:
        return "the witness" if node == self.witness else f"rank {node}"

    # -- every node

    def report(self) -> Report:
        assert self.life is not None, "a node whose host has not spoken yet has nothing to report"
        told = self.count, self.connected, self.view.number, self.identity
        return Report(self.life, *told, self.ready, self.broken)

    def install(self, view: NextView) -> Effects:
        """A life that is not in the view leaves it alone."""
        if view.number > self.view.number and self.life in view.members:
            self.view = view
            self.count += 1
            ranks, lives = zip(*view.members, strict=True)
            yield Record("view", str(view), number=view.number, members=ranks, lives=lives)

    def apply(self, index: int, entry: Entry) -> Effects:
        yield from super().apply(index, entry)
        if isinstance(entry.command, NextView):
            yield from self.install(self.machine.view)
            if self.role == LEADER:
                yield from self.announce(self.peers)
