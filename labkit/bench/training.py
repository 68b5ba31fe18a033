"""How long 4 ranks take to read digits, and how well: `labkit bench training`.

The whole of it on a cluster that is up: data, model, all epochs, evaluation. The lab's ring beside
the same loop with sums in shared memory, over Gloo's own all-reduce, and beside what makes the sums
exact or every shard's gradient twice, in turn in one run: the price of those. Then what fault
tolerance costs in each step while nothing fails (`overhead.py`).
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from labkit import Cluster
from labkit.bench import overhead, picture, report
from labkit.training import train

RANKS = 4
RING, BUILTIN, ACCURACY = "digits, lab's ring", "digits, Gloo's all-reduce", "digits, test accuracy"
SHARED = "digits, shared memory"
EXACT, TWICE = "digits, exact sums", "digits, every shard twice"
WAYS: dict[str, dict[str, Any]] = {
    RING: {},
    SHARED: {"algorithm": "shared_memory"},
    BUILTIN: {"algorithm": "builtin"},
    EXACT: {"exact": True},
    TWICE: {"redundancy": 2},
}
AIMS = [report.Aim(RING, "<", 15.0), report.Aim(ACCURACY, ">=", 95.0), *overhead.AIMS]


def measure(rounds: int = 5, steps: int | None = None) -> list[report.Row]:
    """Trains in turn in all ways, each time on the same seed; a first training is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    accuracy = []
    with Cluster(RANKS, record=False) as cluster:
        cluster.run(train, steps=2).wait()
        for _ in range(rounds):
            for name, how in WAYS.items():
                begin = time.monotonic()
                run = cluster.run(train, steps=steps, **how).wait()
                seconds[name].append(time.monotonic() - begin)
                if name == RING:
                    accuracy.append(100 * run.results[0]["accuracy"])
    rows = []
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds[RING], strict=True))
        note = "" if name == RING else f"{ratio:.2f} x the ring's, median of pairs"
        rows.append(report.row(name, "peer" if name == BUILTIN else "ours", "s", times, note))
    return [*rows, report.row(ACCURACY, "ours", "%", accuracy)]


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many programs broke off, and how
    many aims were missed."""
    rows = measure(rounds=1, steps=20) if quick else measure()
    # Of a quick look nothing is asked but that it works: nobody shall be taken for dead in it.
    quickly: Any = {"pairs": 1, "silence": 1.5, "share": 0.1} if quick else {}
    cost, losses = overhead.measure(**quickly)
    report.show([*rows, *cost], losses)
    if json:
        report.write(json, [*rows, *cost])
    if plot:
        title = f"{RANKS} ranks on the digits, from the call to the test accuracy"
        picture.durations([picture.Panel(title, rows[:-1], AIMS[0].limit)]).savefig(plot)
    return len(losses) + (report.misses([*rows, *cost], AIMS) if check else 0)


if __name__ == "__main__":
    sys.exit(main())
