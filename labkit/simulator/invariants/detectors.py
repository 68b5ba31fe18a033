"""What a failure detector promises (T. Chandra and S. Toueg, JACM 43(2), 1996), and what it must
not do on the way there."""

from __future__ import annotations

import math
from typing import Any

from labkit.protocols.effects import Record
from labkit.protocols.heartbeat import Beat, PhiAccrual
from labkit.protocols.swim import FAULTY, SUSPECT, Swim
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation

# -- judged once all is well


class Completeness(Invariant):
    name, title = "D-C1", "whoever crashes is suspected by everyone, in time"


class Accuracy(Invariant):
    name, title = "D-A1", "nobody is suspected once all is well"


# -- heartbeats


class Phi(Invariant):
    name, title = "D-S1", "φ is at least 0, finite, and never falls during a silence"
    silences = (0.0, 0.1, 10.0, 1e6)

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        for peer, detector in node.watched.items():
            if isinstance(detector, PhiAccrual):
                self._look(i, peer, detector, node.context.now)

    def _look(self, i: int, peer: int, detector: PhiAccrual, now: float) -> None:
        try:
            values = [detector.phi(now + silence) for silence in self.silences]
        except (ValueError, OverflowError) as error:
            raise Violation(self, f"rank {i} cannot compute φ of rank {peer}: {error}") from None
        if values != sorted(values) or not 0 <= values[0] <= values[-1] < math.inf:
            told = ", ".join(f"{v:.3g}" for v in values)
            raise Violation(self, f"rank {i}'s φ of rank {peer} goes {told} in silence")


class LateBeat(Invariant):
    """The same belief about a peer before and after a beat that is not newer than the newest."""

    name, title = "D-S2", "a late beat revives nobody"
    watches = (Beat,)

    def __init__(self) -> None:
        self.newest: dict[tuple[int, int], tuple[int, int]] = {}  # observer, peer: life, serial
        self.stale: tuple[int, int, bool, float] | None = None

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.newest = {pair: beat for pair, beat in self.newest.items() if pair[0] != i}

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        beat = m.life, m.serial
        if beat > self.newest.get((i, sender), (0, 0)):
            self.newest[i, sender] = beat
        else:
            node = sim.node(i)
            self.stale = i, sender, sender in node.suspected, node.watched[sender].last

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if self.stale is None:
            return
        i, peer, suspected, last = self.stale
        self.stale = None
        if (peer in node.suspected) != suspected or node.watched[peer].last != last:
            raise Violation(self, f"rank {i} believes rank {peer} alive because of a late beat")


class OneClock(Invariant):
    name, title = "D-S3", "only the monotonic clock of the node is read"

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        for peer, detector in node.watched.items():
            if detector.last > node.context.now:
                late = detector.last - node.context.now
                text = f"rank {i} has heard rank {peer} {late:.3g} s from now, by another clock"
                raise Violation(self, text)


class OwnStall(Invariant):
    """Of a silence only that part counts for which the observer was awake, and its tick not
    overdue."""

    name, title = "D-S4", "an observer that stood still convicts nobody for its own silence"
    watches = (Beat,)

    def __init__(self) -> None:
        self.acted: dict[int, tuple[float, float]] = {}  # when it last did, and its next tick
        self.awake: dict[tuple[int, int], float] = {}  # since the newest beat, seconds

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.acted[i] = node.context.now, node.tick_due
        self.awake.update(dict.fromkeys(((i, peer) for peer in node.peers), 0.0))

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self._pass(i, sim.node(i))
        if (m.life, m.serial) > sim.node(i).heard[sender]:
            self.awake[i, sender] = 0.0

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        node, peer = sim.node(i), record.data["peer"]
        self._pass(i, node)
        detector, awake = node.watched[peer], self.awake[i, peer]
        hardly = record.kind == "suspect" and not detector.suspects(detector.last + awake + 1e-6)
        if hardly and not node.hangs(peer):
            text = f"rank {i} suspects rank {peer} after {awake:.3f} s in which it was awake"
            raise Violation(self, text)

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        self._pass(i, node)
        self.acted[i] = node.context.now, node.tick_due

    def _pass(self, i: int, node: Any) -> None:
        (acted, due), now = self.acted[i], node.context.now
        seconds = now - acted - (now - due if now - due > node.interval else 0.0)
        self.acted[i] = now, max(due, now)  # what is overdue is overdue once
        for peer in node.peers:
            self.awake[i, peer] += max(0.0, seconds)


HEARTBEAT: tuple[type[Invariant], ...] = (Phi, LateBeat, OneClock, OwnStall)


# -- SWIM


class Growth(Invariant):
    name, title = "D-S2", "what is believed of a member only grows"

    def __init__(self) -> None:
        self.before: dict[int, dict[int, tuple[int, int]]] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.before[i] = {}

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        before = self.before[i]
        for member, belief in node.beliefs.items():
            if belief < before.get(member, belief):
                text = f"rank {i} believed {before[member]} of rank {member}, and now {belief}"
                raise Violation(self, text)
            raised = sim.on_disk(member)["incarnation"]
            if belief[0] > raised:
                text = f"rank {i} knows of life {belief[0]} of rank {member}, which is in {raised}"
                raise Violation(self, text)
        self.before[i] = dict(node.beliefs)


class Confirmed(Invariant):
    """A suspicion is as short as the number of those who found out by themselves allows."""

    name, title = "T_M", "a suspicion is shortened only by different accusers"

    def __init__(self) -> None:
        self.since: dict[tuple[int, int], float] = {}  # observer, member
        self.heard: dict[tuple[int, int, int], set[int]] = {}  # and incarnation: accusers
        self.told: set[int] = set()  # whom the message that is handled declares faulty

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.told = {fact.member for fact in m.facts if fact.status == FAULTY}
        for fact in m.facts:
            if fact.status == SUSPECT:
                key = i, fact.member, fact.incarnation
                self.heard.setdefault(key, set()).add(fact.accuser)

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        node: Swim = sim.node(i)
        member, now = record.data["peer"], node.context.now
        if record.kind == "suspect":
            self.since[i, member] = now
        elif record.kind == "lost" and member not in self.told:
            accusers = self.heard.get((i, member, node.belief(member)[0]), set()) | {i}
            lasted, due = now - self.since[i, member], node.patience(len(accusers))
            if lasted < 0.7 * due:  # its clock may have changed its rate meanwhile
                text = f"rank {i} declares rank {member} faulty after {lasted:.2f} s, where "
                text += f"{len(accusers)} accusers allow {due:.2f} s"
                raise Violation(self, text)

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        self.told = set()


class OwnStallSwim(Invariant):
    name, title = "D-S4", "a member that stood still judges nobody when it goes on"

    def __init__(self) -> None:
        self.due: dict[int, tuple[float, dict[int, float]]] = {}  # its period, its suspicions
        self.told: set[int] = set()  # whom the message that is handled accuses

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.told = {fact.member for fact in m.facts}

    def recorded(self, sim: Simulation, i: int, record: Record) -> None:
        member, node = record.data["peer"], sim.node(i)
        if member in self.told or record.kind == "trust":
            return
        period, suspicions = self.due[i]
        due = period if record.kind == "suspect" else suspicions[member]
        late = node.context.now - due
        if late > node.timeout + 1e-6:
            text = f"rank {i} judges rank {member} with a timer that came {late:.2f} s late"
            raise Violation(self, text)

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        self.told = set()
        self.due[i] = node.period_due, {m: s.due for m, s in node.suspicions.items()}


class StableGeneration(Invariant):
    name, title = "M-L1", "while the same members are there, there is one generation"

    def __init__(self) -> None:
        self.before: dict[int, tuple[int, frozenset[int]]] = {}

    def started(self, sim: Simulation, i: int, node: Any) -> None:
        self.before[i] = 0, frozenset()

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        generation, faulty = self.before[i]
        now = frozenset(m for m, (_, status) in node.beliefs.items() if status == FAULTY)
        if node.generation - generation != len(now ^ faulty):
            text = f"rank {i} goes from generation {generation} to {node.generation}, although "
            text += f"{len(now ^ faulty)} members came or went"
            raise Violation(self, text)
        self.before[i] = node.generation, now


SWIM: tuple[type[Invariant], ...] = (Growth, Confirmed, OwnStallSwim, StableGeneration)
