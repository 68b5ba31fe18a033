"""step_lab.py MODEL BATCH STEPS SILENCE [zero]: what `step_plain.py` trains, elastic, by the lab.

With views, heartbeats, votes and the record of everything; with "zero" also with a replica of each
rank's part of the optimizer's state at its neighbour, after each step. Not a peer, but measured as
they are: a program of its own.
"""

import sys
from typing import Any

from labkit import Cluster
from labkit.bench.peers.say import live, say
from labkit.bench.peers.step_plain import RANKS, WARM_UP
from labkit.training.loop import train

if __name__ == "__main__":
    live(300)
    model, (batch, steps), silence = sys.argv[1], map(int, sys.argv[2:4]), float(sys.argv[4])
    zero = "zero" in sys.argv[5:]
    with Cluster(RANKS, "gloo", "cpu", silence=silence, max_restarts=1) as cluster:
        # One logical shard a rank, and Gloo's own all-reduce: what the plain loop does, no more.
        job: Any = {"model": model, "batch": batch, "algorithm": "builtin", "zero": zero}
        job |= {"steps": WARM_UP + steps, "shards": RANKS}
        run = cluster.run(train, elastic=True, **job).wait()
    if run.deaths:
        raise SystemExit(f"a false suspicion: {run.deaths}")
    times = [e.time for e in run.events if e.kind == "step" and e.rank == 0]
    say("steps", seconds=(times[-1] - times[WARM_UP - 1]) / steps)
