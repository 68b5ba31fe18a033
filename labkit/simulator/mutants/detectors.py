"""Mutants of the failure detectors and of SWIM: what implementations got wrong."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

HEARTBEAT = "labkit.protocols.heartbeat"
SWIM = "labkit.protocols.swim"

DETECTORS = [
    Mutant(
        "d01",
        "the wall clock is read, which jumps",
        "hazelcast #4226; jraft #24",
        HEARTBEAT,
        """        now, (life, serial) = self.context.now, self.heard[peer]
""",
        """        import time

        now, (life, serial) = time.time(), self.heard[peer]
""",
        killer="D-S3",
        scenario="HEARTBEAT",
    ),
    Mutant(
        "d03",
        "an outage enters the history, and the detector goes numb",
        "a φ without the paper's care; Akka leaves outages out",
        HEARTBEAT,
        "if not delayed and not self.suspects(now):",
        "if not delayed:",
        killer="D-C1",
        scenario="HEARTBEAT",
        seed=2,
    ),
    Mutant(
        "d05",
        "φ of a long silence is the logarithm of zero",
        "Akka's formula in Python",
        HEARTBEAT,
        "if z < 20:",
        "if z < 1e9:",
        killer="D-S1",
        scenario="HEARTBEAT",
    ),
    Mutant(
        "d07",
        "a late beat of an earlier life revives a dead node",
        "what incarnations are for: SWIM 2002, §4.2",
        HEARTBEAT,
        "if (m.life, m.serial) <= (life, serial):",
        "if m.life == life and m.serial <= serial:",
        killer="D-S2",
        scenario="HEARTBEAT",
    ),
    Mutant(
        "d09",
        "an accuser that is heard twice counts twice",
        "memberlist excludes it: suspicion.go",
        SWIM,
        "if accuser in known or len(known) > CONFIRMATIONS:",
        "if len(known) > CONFIRMATIONS:",
        killer="T_M",
        scenario="SWIM",
        seed=1,
    ),
    Mutant(
        "d11",
        "a member that flaps raises the generation with everything that it says",
        "elastic launchers: a restart of all for one that comes and goes",
        SWIM,
        "self.generation += (before[1] == FAULTY) != (status == FAULTY)",
        "self.generation += 1",
        killer="M-L1",
        scenario="SWIM",
    ),
    Mutant(
        "d13",
        "an observer that stood still blames the others for its own silence",
        "restate #5156",
        HEARTBEAT,
        """        if self.waking:
            self.excuse(stalled)
""",
        "",
        killer="D-S4",
        scenario="HEARTBEAT",
        seed=1,
    ),
    Mutant(
        "d15",
        "alive beats suspect in the same incarnation: old news are a refutation",
        "SWIM 2002, §4.2: the order of preference",
        SWIM,
        "        if after < before:\n",
        "        if after[0] < before[0] or before[1] == FAULTY and after < before:\n",
        killer="D-S2",
        scenario="SWIM",
    ),
    Mutant(
        "d17",
        "a refutation in the same incarnation, which beats no suspicion",
        "SWIM 2002, §4.2",
        SWIM,
        "self.incarnation = fact.incarnation + 1",
        "self.incarnation = fact.incarnation",
        killer="D-A1",
        scenario="SWIM",
        seed=2,
    ),
    Mutant(
        "d19",
        "an accusation of an earlier incarnation is not answered: who was cut off and missed the "
        "refutation is not told again",
        "the lab's own, found by the simulator",
        SWIM,
        """        if fact.status == ALIVE:
            return
""",
        """        if fact.status == ALIVE or fact.incarnation < self.incarnation:
            return
""",
        killer="D-A1",
        scenario="SWIM",
        seed=3,
    ),
    Mutant(
        "d21",
        "timers that ran out while the member stood still declare others faulty when it goes on",
        "slow members convict sound ones: Lifeguard 2018, §I",
        SWIM,
        "if self.context.now - suspicion.due > self.timeout:",
        "if False:",
        killer="D-S4",
        scenario="DROWSY_SWIM",
        seed=2,
    ),
]
