"""The puzzles: a wrong implementation each, and with how few faults it can be broken.

Each has a network of its own, which the solver cannot change. The seeds are tried in turn from
`seed` on. That every one of them can be solved is a test.
"""

from __future__ import annotations

from typing import NamedTuple

from labkit.faults import At
from labkit.simulator.mutants import Mutant
from labkit.simulator.mutants.commit import COMMIT
from labkit.simulator.mutants.detectors import DETECTORS
from labkit.simulator.mutants.raft import RAFT
from labkit.simulator.network import Network
from labkit.simulator.scenario import Scenario
from labkit.simulator.scenarios import scenario
from labkit.simulator.schedule import Schedule

FELT = {"R-S1", "R-S4", "R-S5", "R-S7", "R-S14", "P-S1", "P-S3", "D-S2", "D-S4"}
"""What a user of the system would feel; that a disk is behind for a moment is no such thing."""

LIVE = {"R-L1", "R-L4", "P-L1"}

MUTANTS = {mutant.id: mutant for mutant in (*RAFT, *COMMIT, *DETECTORS)}


class Puzzle(NamedTuple):
    """`faults` are enough to break it, within `seconds`, with `n` nodes."""

    mutant: Mutant
    scenario: str
    n: int
    faults: int
    seconds: float
    seed: int
    hint: str
    network: Network = Network()

    @property
    def story(self) -> str:
        """What the learner is told."""
        return f"{self.mutant.title} ({self.mutant.source})"

    def felt(self) -> Scenario:
        """With the invariants that count: what a user feels, and this bug's own if it is one of
        progress."""
        whole = scenario(self.scenario)
        counts = FELT | ({self.mutant.killer} & LIVE)
        return whole._replace(invariants=tuple(i for i in whole.invariants if i.name in counts))

    def schedule(self, number: int, faults: tuple[At, ...]) -> Schedule:
        return Schedule(self.seed + number, self.n, faults, self.network, self.seconds)


PUZZLES = {
    "m01": Puzzle(
        MUTANTS["m01"],
        "PLAIN_RAFT",
        5,
        1,
        10,
        260,
        "A vote that is only in memory is gone after a crash.",
        Network(low=0.001, high=0.06, loss=0.295, duplicate=0.141, tail=0.024, tail_seconds=1.36),
    ),
    "m03": Puzzle(
        MUTANTS["m03"],
        "RAFT",
        3,
        4,
        20,
        67,
        "An acknowledged entry that no disk has is gone after a crash.",
        Network(low=0.001, high=0.005, loss=0.0, duplicate=0.0, tail=0.074, tail_seconds=1.685),
    ),
    "m05": Puzzle(
        MUTANTS["m05"],
        "PLAIN_RAFT",
        3,
        2,
        20,
        6,
        "A candidate that loses steps down in its own term.",
        Network(low=0.001, high=0.06, loss=0.0, duplicate=0.0, tail=0.0, tail_seconds=0.957),
    ),
    "m07": Puzzle(
        MUTANTS["m07"],
        "PLAIN_RAFT",
        5,
        1,
        2.5,
        179,
        "Split the votes, and let answers come twice.",
        Network(low=0.001, high=0.002, loss=0.0, duplicate=0.229, tail=0.0, tail_seconds=0.324),
    ),
    "m09": Puzzle(
        MUTANTS["m09"],
        "PLAIN_RAFT",
        3,
        2,
        10,
        0,
        "Let a node fall behind, then let it win.",
        Network(low=0.001, high=0.002, loss=0.038, duplicate=0.0, tail=0.0, tail_seconds=0.822),
    ),
    "m15": Puzzle(
        MUTANTS["m15"],
        "RAFT",
        3,
        5,
        5,
        57,
        "Let a follower keep the tail of a leader that is gone.",
        Network(low=0.001, high=0.005, loss=0.0, duplicate=0.198, tail=0.0, tail_seconds=1.171),
    ),
    "m17": Puzzle(
        MUTANTS["m17"], "PLAIN_RAFT", 3, 1, 10, 6, "Two leaders, two histories of the same length."
    ),
    "m23": Puzzle(
        MUTANTS["m23"],
        "RAFT",
        3,
        2,
        20,
        85,
        "Two candidates in one term, and no third try.",
        Network(low=0.001, high=0.06, loss=0.2, duplicate=0.0, tail=0.0, tail_seconds=1.648),
    ),
    "m29": Puzzle(
        MUTANTS["m29"], "RAFT", 3, 1, 10, 0, "A leader that nobody hears still believes."
    ),
    "m31": Puzzle(
        MUTANTS["m31"],
        "PLAIN_RAFT",
        3,
        1,
        5,
        217,
        "Ask an old leader.",
        Network(low=0.001, high=0.06, loss=0.0, duplicate=0.0, tail=0.094, tail_seconds=1.546),
    ),
    "m35": Puzzle(
        MUTANTS["m35"], "RAFT", 3, 3, 5, 133, "A vote that was given on a disk that is gone."
    ),
    "m37": Puzzle(
        MUTANTS["m37"],
        "RAFT",
        3,
        1,
        20,
        29,
        "Lose an answer.",
        Network(low=0.001, high=0.06, loss=0.065, duplicate=0.0, tail=0.0, tail_seconds=1.161),
    ),
    "p03": Puzzle(
        MUTANTS["p03"],
        "COMMIT",
        3,
        2,
        8,
        0,
        "What is told and not written is forgotten in a crash.",
    ),
    "p07": Puzzle(MUTANTS["p07"], "COMMIT", 3, 2, 20, 0, "Crash somebody who has promised."),
    "p11": Puzzle(
        MUTANTS["p11"],
        "COMMIT",
        3,
        1,
        8,
        0,
        "Let one learn of the commit, and another ask.",
        Network(low=0.01, high=0.05),
    ),
    "d07": Puzzle(
        MUTANTS["d07"],
        "TIMEOUT",
        3,
        3,
        6,
        0,
        "Let beats be under way for long, and their sender be another one when they arrive.",
    ),
    "d13": Puzzle(MUTANTS["d13"], "TIMEOUT", 3, 1, 6, 0, "Whose silence was it?"),
}
