"""What fault tolerance costs while nothing fails: rows of `labkit bench training`.

The lab's elastic training, with views, heartbeats of 50 ms and a vote in each step, beside a plain
loop over Gloo's all-reduce: the same model, data and optimizer. Both in turn, each time with new
ranks; the first of a pair is now the one, now the other, and each pair gives one ratio. The ranks
are forked by a program that has torch already and waits meanwhile: a pair costs its steps, and not
two starts of Python.

What it costs is nearly the same for every step, and a share of the processor for the heartbeats. So
the lab's own models, which take no longer than a learner waits, show the most of it; with more
samples a step is one of a tenth of a second, as short as steps are where training takes days, and
that is what the aim is for.

The sum over the ranks goes through Gloo in both, so that fault tolerance is all that differs. That
is not how one would train on one machine, where the lab's ranks can add up in memory that all see:
so each model is measured with that too, against the same plain loop, which has Gloo alone.

ZeRO-1 stands apart, since there fault tolerance is more: after each step every rank's part of the
optimizer's state goes to its neighbour as well. The plain loop has torch's ZeroRedundancyOptimizer.

A pair's ratio strays by 4 % from start to start of the same ranks, and its steps within a start
stray as much: so what the aim is for is measured in more and shorter pairs.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from labkit.bench import report
from labkit.bench.peers.program import Program, script
from labkit.views.progress import progress

SILENCE = 0.15
ROUND_SECONDS = 120.0
"""For one round of steps, and at first for the start of a program besides."""
LIMIT = 3.0
"""Percent of a step, of plain data-parallel training."""


class Case(NamedTuple):
    """`algorithm` is the lab's all-reduce; `words` are what both programs are told besides."""

    name: str
    model: str
    batch: int
    steps: int
    pairs: int = 10
    algorithm: str = "builtin"
    words: tuple[str, ...] = ()

    @property
    def lab(self) -> str:
        return f"{self.name}, a step of the lab's elastic training"

    @property
    def plain(self) -> str:
        return f"{self.name}, a step of plain data-parallel training"

    @property
    def more(self) -> str:
        return f"{self.name}, longer than the plain step"


LONG = Case("gpt, 128 texts a step", "gpt", 128, 30, pairs=18)
ALIKE = [
    LONG,
    Case("gpt, 16 texts a step", "gpt", 16, 100),
    Case("cnn, 128 digits a step", "cnn", 128, 200),
]
CASES = [
    *ALIKE,
    *(
        case._replace(name=f"{case.name}, shared memory", pairs=10, algorithm="shared_memory")
        for case in ALIKE
    ),
    Case("gpt with ZeRO-1 and replicas, 16 texts a step", "gpt", 16, 60, words=("zero",)),
]
AIMS = [report.Aim(LONG.more, "<", LIMIT)]


class Stepper:
    """A program that measures its step, with new ranks, as often as it is asked. It is started when
    it is first asked, and again after it has broken off."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name, self.command = name, (sys.executable, script(name), *arguments)
        self.program: Program | None = None

    def seconds(self) -> float:
        """Of one step. Raises RuntimeError with what the program said when it does not say, and
        TimeoutError."""
        if self.program is None:
            self.program = Program(*self.command, seconds=ROUND_SECONDS, told=True)
            self.words = self.program.words()
        self.program.deadline = time.monotonic() + ROUND_SECONDS
        self.program.tell("measure")
        with contextlib.ExitStack() as broken:
            broken.callback(self.close)
            for word in self.words:
                if word["word"] == "steps":
                    broken.pop_all()
                    return float(word["seconds"])
            raise RuntimeError(f"{self.name} measured nothing; {self.program.complaint()}")

    def close(self) -> None:
        if self.program is not None:
            self.program.__exit__()
            self.program = None


def measure(
    pairs: int | None = None,
    silence: float = SILENCE,
    share: float = 1.0,
    cases: Sequence[Case] = tuple(CASES),
) -> tuple[list[report.Row], report.Losses]:
    """Rows of each case: the lab's step, the plain one, and what the lab's takes longer, in %, of
    so many pairs, or of the case's own number. One of which a half breaks off is left out."""
    rows, losses = [], report.Losses()
    for case in cases:
        took: list[tuple[float, float]] = []
        count = case.pairs if pairs is None else pairs
        ours, theirs = programs(case, int(case.steps * share), silence)
        with contextlib.closing(ours), contextlib.closing(theirs):
            for pair in progress(range(count), case.name, unit="pair"):
                with losses.kept(f"{case.name}, pair {pair + 1} of {count}"):
                    took.append(one_pair(ours, theirs, bool(pair % 2)))
        if not took:
            continue
        lab, plain = zip(*took, strict=True)
        cost = [100 * (a / b - 1) for a, b in took]
        rows += [
            report.row(case.lab, "ours", "s", lab),
            report.row(case.plain, "peer", "s", plain),
            report.row(case.more, "ours", "%", cost, interval(cost)),
        ]
    return rows, losses


def programs(case: Case, steps: int, silence: float) -> tuple[Stepper, Stepper]:
    """The lab's and the plain one."""
    told = case.model, str(case.batch), str(steps)
    return (
        Stepper("step_lab", *told, str(silence), case.algorithm, *case.words),
        Stepper("step_plain", *told, *case.words),
    )


def one_pair(ours: Stepper, theirs: Stepper, ours_first: bool) -> tuple[float, float]:
    """Seconds of a step of the lab's and of a plain one."""
    order = (ours, theirs) if ours_first else (theirs, ours)
    took = {program: program.seconds() for program in order}
    return took[ours], took[theirs]


def interval(values: Sequence[float]) -> str:
    """The mean and its 95 % confidence interval, for the normal distribution."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"one pair, {mean:.1f} %"
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return f"mean {mean:.1f} %, 95 % interval {mean - half:.1f} to {mean + half:.1f}"
