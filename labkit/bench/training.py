"""How long 4 ranks take to read digits, and how well: `labkit bench training`.

The whole of it on a cluster that is up: data, model, all epochs, evaluation. The lab's ring beside
the same loop over Gloo's own all-reduce, in turn in one run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from labkit import Cluster
from labkit.bench import picture, report
from labkit.training import train

RANKS = 4
RING, BUILTIN, ACCURACY = "digits, lab's ring", "digits, Gloo's all-reduce", "digits, test accuracy"
AIMS = [report.Aim(RING, "<", 15.0), report.Aim(ACCURACY, ">=", 95.0)]


def measure(rounds: int = 5, steps: int | None = None) -> list[report.Row]:
    """Trains in turn with both, each time on the same seed; a first training is not counted."""
    seconds: dict[str, list[float]] = {RING: [], BUILTIN: []}
    accuracy = []
    with Cluster(RANKS, record=False) as cluster:
        cluster.run(train, steps=2).wait()
        for _ in range(rounds):
            for name, algorithm in ((RING, "ring"), (BUILTIN, "builtin")):
                begin = time.monotonic()
                run = cluster.run(train, algorithm=algorithm, steps=steps).wait()
                seconds[name].append(time.monotonic() - begin)
                if algorithm == "ring":
                    accuracy.append(100 * run.results[0]["accuracy"])
    return [
        report.row(RING, "ours", "s", seconds[RING]),
        report.row(BUILTIN, "peer", "s", seconds[BUILTIN]),
        report.row(ACCURACY, "ours", "%", accuracy),
    ]


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    rows = measure(rounds=1, steps=20) if quick else measure()
    report.show(rows)
    if json:
        report.write(json, rows)
    if plot:
        title = f"{RANKS} ranks on the digits, from the call to the test accuracy"
        picture.durations([picture.Panel(title, rows[:2], AIMS[0].limit)]).savefig(plot)
    return report.misses(rows, AIMS) if check else 0


if __name__ == "__main__":
    sys.exit(main())
