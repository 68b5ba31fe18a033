"""Mutants of the failure detectors."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

MODULE = "labkit.protocols.heartbeat"

DETECTORS = [
    Mutant(
        "d01",
        "the wall clock is read, which jumps",
        "hazelcast #4226; jraft #24",
        MODULE,
        """    def on_tick(self) -> Effects:
        now = self.context.now
""",
        """    def on_tick(self) -> Effects:
        import time

        now = time.time()
""",
        killer="D-S3",
        scenario="HEARTBEAT",
    ),
    Mutant(
        "d03",
        "an outage enters the history, and the detector goes numb",
        "a plain φ",
        MODULE,
        "if not self.suspects(now):  # an outage says nothing of how regular the beats are",
        "if True:",
        killer="D-C1",
        scenario="HEARTBEAT",
    ),
    Mutant(
        "d05",
        "φ of a long silence is the logarithm of zero",
        "Akka's formula in Python",
        MODULE,
        "if z < 20:",
        "if z < 1e9:",
        killer="D-S1",
        scenario="HEARTBEAT",
    ),
    Mutant(
        "d07",
        "a late beat of an earlier life revives a dead node",
        "many",
        MODULE,
        """        if m.life < self.lives.get(peer, 0):
            return  # from an earlier life: it proves nothing
""",
        "",
        killer="D-S2",
        scenario="HEARTBEAT",
    ),
]
