"""step_lab.py MODEL STEPS SILENCE [zero]: the training of `step_plain.py`, elastic, by the lab.

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
    model, steps, silence = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    zero = "zero" in sys.argv[4:]
    with Cluster(RANKS, "gloo", "cpu", silence=silence, max_restarts=1) as cluster:
        # One logical shard a rank, and Gloo's own all-reduce: what the plain loop does, no more.
        job: Any = {"model": model, "steps": WARM_UP + steps, "algorithm": "builtin", "zero": zero}
        run = cluster.run(train, elastic=True, shards=RANKS, **job).wait()
    if run.deaths:
        raise SystemExit(f"a false suspicion: {run.deaths}")
    times = [e.time for e in run.events if e.kind == "step" and e.rank == 0]
    say("steps", seconds=(times[-1] - times[WARM_UP - 1]) / steps)
