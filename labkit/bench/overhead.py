"""What fault tolerance costs while nothing fails: rows of `labkit bench training`.

The lab's elastic training, with views, heartbeats of 50 ms and a vote in each step, beside a plain
loop over Gloo's all-reduce: the same model, data and optimizer. Both in turn, each time in new
processes; the first of a pair is now the one, now the other, and each pair gives one ratio.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence

from labkit.bench import report
from labkit.bench.peers.program import Program, script

STEPS = {"cnn": 300, "gpt": 100}
SILENCE = 0.15
PROGRAM_SECONDS = 120.0


def lab(model: str) -> str:
    return f"{model}, a step of the lab's elastic training"


def plain(model: str) -> str:
    return f"{model}, a step of plain data-parallel training"


def more(model: str) -> str:
    return f"{model}, fault tolerance costs"


AIMS = [report.Aim(more(model), "<", 3.0) for model in STEPS]


def seconds(name: str, *arguments: str) -> float:
    """Of one step. Raises RuntimeError with what the program said when it does not say."""
    command = sys.executable, script(name), *arguments
    with Program(*command, seconds=PROGRAM_SECONDS) as program:
        for word in program.words():
            if word["word"] == "steps":
                return float(word["seconds"])
        raise RuntimeError(f"{name} measured nothing; {program.complaint()}")


def measure(pairs: int = 10, silence: float = SILENCE, share: float = 1.0) -> list[report.Row]:
    """Rows of each model: the lab's step, the plain one, and what the lab's takes longer, in %."""
    rows = []
    for model, full in STEPS.items():
        steps = str(int(full * share))
        ours: list[float] = []
        theirs: list[float] = []
        for pair in range(pairs):
            turns = [
                lambda: ours.append(seconds("step_lab", model, steps, str(silence))),  # noqa: B023
                lambda: theirs.append(seconds("step_plain", model, steps)),  # noqa: B023
            ]
            for turn in turns if pair % 2 else reversed(turns):
                turn()
        cost = [100 * (a / b - 1) for a, b in zip(ours, theirs, strict=True)]
        rows += [
            report.row(lab(model), "ours", "s", ours),
            report.row(plain(model), "peer", "s", theirs),
            report.row(more(model), "ours", "%", cost, interval(cost)),
        ]
    return rows


def interval(values: Sequence[float]) -> str:
    """The mean and its 95 % confidence interval, for the normal distribution."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"one pair, {mean:.1f} %"
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return f"mean {mean:.1f} %, 95 % interval {mean - half:.1f} to {mean + half:.1f}"
