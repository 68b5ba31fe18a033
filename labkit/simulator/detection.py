"""The scenarios of failure detection: heartbeats with a time-out and with φ, and SWIM.

After the faults everyone must trust everyone (D-A1); then one is killed, and everyone must notice
in time (D-C1), which a detector that the faults have made numb does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import msgspec

from labkit.faults import Kill, Restart
from labkit.protocols.heartbeat import Heartbeat, PhiAccrual
from labkit.protocols.swim import FAULTY, Swim
from labkit.simulator.invariants import Violation
from labkit.simulator.invariants.detectors import HEARTBEAT as BEATS
from labkit.simulator.invariants.detectors import SWIM as MEMBERSHIP
from labkit.simulator.invariants.detectors import Accuracy, Completeness
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, Schedule, swarm
from labkit.simulator.simulation import Simulation


# A node without its disk does not know how many lives it has had.
def watched(seed: int, kinds: tuple[str, ...] = KEPT_DISKS, seconds: float = 8.0) -> Schedule:
    """A swarm's schedule on a network in which beats are lost and late now and then, so that a
    time-out of four beats is a sensible one."""
    draw = Random(f"watched/{seed}")
    network = Network(
        high=draw.choice((0.002, 0.005, 0.02)),
        loss=draw.choice((0.0, 0.01, 0.05)),
        duplicate=draw.choice((0.0, 0.2)),
        tail=draw.choice((0.0, 0.02)),
    )
    return msgspec.structs.replace(swarm(seed, kinds=kinds, seconds=seconds), network=network)


Suspects = Callable[[Any, int], bool]
"""Whether this node suspects that peer."""


def judge(
    sim: Simulation, suspects: Suspects, settle: float, calm: float, detect: float, back: float
) -> None:
    """Seconds until all must trust all, for which it must stay so, until a crash must be noticed by
    everyone, and until the one that comes back must be trusted."""

    def doubted(s: Simulation) -> list[tuple[int, int]]:
        return [(i, j) for i in s.members for j in s.members if i != j and suspects(s.node(i), j)]

    def trusted(s: Simulation) -> bool:
        return not doubted(s)

    if not sim.run(settle).run_until(trusted, within=0.0):
        i, j = doubted(sim)[0]
        raise Violation(Accuracy(), f"rank {i} suspects rank {j} {settle:g} s after all has healed")
    if sim.run_until(lambda s: not trusted(s), calm):
        i, j = doubted(sim)[0]
        raise Violation(Accuracy(), f"rank {i} suspects rank {j}, and all is well")
    victim = sim.seed % sim.n
    others = [i for i in sim.members if i != victim]
    sim.inject(Kill(victim))
    if not sim.run_until(lambda s: all(suspects(s.node(i), victim) for i in others), detect):
        blind = next(i for i in others if not suspects(sim.node(i), victim))
        text = f"rank {blind} does not suspect rank {victim}, dead for {detect:g} s"
        raise Violation(Completeness(), text)
    sim.inject(Restart(victim))
    if not sim.run_until(trusted, back):
        i, j = doubted(sim)[0]
        raise Violation(Accuracy(), f"rank {i} suspects rank {j} {back:g} s after it came back")


def hears_no_beats(node: Heartbeat, peer: int) -> bool:
    return peer in node.suspected


def has_declared(node: Swim, peer: int) -> bool:
    return node.belief(peer)[1] == FAULTY


beats_progress = partial(judge, suspects=hears_no_beats, settle=2.0, calm=2.0, detect=0.6, back=0.5)

HEARTBEAT = Scenario(
    "HEARTBEAT",
    partial(Heartbeat, detector=PhiAccrual),
    BEATS,
    progress=beats_progress,
    draw=watched,
)
TIMEOUT = HEARTBEAT._replace(name="TIMEOUT", protocol=Heartbeat)

SWIM = Scenario(
    "SWIM",
    partial(Swim, period=0.2, timeout=0.06),
    MEMBERSHIP,
    progress=partial(judge, suspects=has_declared, settle=30.0, calm=5.0, detect=12.0, back=30.0),
    draw=partial(watched, seconds=20.0),
)
# Members that stand still, and others that are dead meanwhile.
DROWSY_SWIM = SWIM._replace(
    name="DROWSY_SWIM", draw=partial(watched, kinds=("crash", "pause"), seconds=20.0)
)
