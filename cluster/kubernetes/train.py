"""What the driver runs on Kubernetes: an elastic training that outlives its workers and itself.

While it trains, take a worker away, or the driver, and read the log of the other:

    kubectl delete pod labkit-worker-2 --grace-period=0 --force
    kubectl logs -f job/labkit-driver

In the environment: WORLD_SIZE; STEPS of the whole training, 5 000 unless given; MINIMUM, the ranks
with which it goes on (with fewer it waits), 1 unless given. Checkpoints stand in LABKIT_RUNS, where
the next driver goes on from the newest.
"""

import os
from pathlib import Path

from labkit import Cluster
from labkit.training import train

environment = os.environ
checkpoints = Path(environment["LABKIT_RUNS"]) / "checkpoints"
with Cluster(int(environment["WORLD_SIZE"]), max_restarts=1000) as cluster:
    run = cluster.run(
        train,
        elastic=True,
        steps=int(environment.get("STEPS", "5000")),
        minimum=int(environment.get("MINIMUM", "1")),
        checkpoints=str(checkpoints),
    )
    run.wait()
    for rank, result in sorted(run.results.items()):
        print(f"rank {rank}: {result}", flush=True)
