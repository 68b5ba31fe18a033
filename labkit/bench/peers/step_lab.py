"""step_lab.py MODEL BATCH STEPS SILENCE ALGORITHM [zero]: what `step_plain.py` trains, elastic, by
the lab.

With views, heartbeats, votes and the record of everything; with "zero" also with a replica of each
rank's part of the optimizer's state at its neighbour, after each step. Not a peer, but measured as
they are: a program of its own. For each line of its input it trains once, in a cluster of its own.
"""

import sys
from typing import Any

from labkit import Cluster
from labkit.bench.peers.say import live, say
from labkit.bench.peers.step_plain import RANKS, WARM_UP
from labkit.training.loop import train


def measure(silence: float, job: dict[str, Any]) -> float:
    """Seconds of a step."""
    with Cluster(RANKS, "gloo", "cpu", silence=silence, max_restarts=1) as cluster:
        run = cluster.run(train, elastic=True, **job).wait()
    if run.deaths:
        raise SystemExit(f"a false suspicion: {run.deaths}")
    times = [e.time for e in run.events if e.kind == "step" and e.rank == 0]
    return (times[-1] - times[WARM_UP - 1]) / (job["steps"] - WARM_UP)


if __name__ == "__main__":
    live(300)
    model, (batch, steps), silence = sys.argv[1], map(int, sys.argv[2:4]), float(sys.argv[4])
    # One logical shard a rank: what the plain loop does, no more.
    job: dict[str, Any] = {"model": model, "batch": batch, "algorithm": sys.argv[5]}
    job |= {"steps": WARM_UP + steps, "shards": RANKS, "zero": "zero" in sys.argv[6:]}
    for _ in sys.stdin:
        live(300)
        say("steps", seconds=measure(silence, job))
