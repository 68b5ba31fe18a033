"""What only a machine with GPUs can show; elsewhere the list at the end of the tests names it."""

from __future__ import annotations

import pytest
import torch

from labkit import Cluster
from labkit.training import train

GPUS = torch.cuda.device_count()
one = pytest.mark.skipif(GPUS < 1, reason="needs a GPU")
several = pytest.mark.skipif(GPUS < 2, reason="needs NCCL and two GPUs or more")


def until_lost(worker):
    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(1 << 20, fill=1.0), 0
    while True:
        step += 1
        try:
            group.all_reduce(tensor, "avg")
        except PeerLost as lost:
            group = worker.regroup()
            return lost.rank, group.all_reduce(worker.tensor(1, fill=1.0)).item()
        worker.step(step)


@one
def test_ranks_share_a_gpu_through_gloo_and_staged_copies() -> None:
    with Cluster(4, device="cuda", backend="gloo") as cluster:
        assert "cuda" in cluster.placement.ranks[0].device
        run = cluster.run(until_lost)
        run.wait_step(3)
        cluster.kill(2)
        assert run.wait().results == dict.fromkeys((0, 1, 3), (2, 3.0))
        assert "GPU" in str(cluster.status())


@one
def test_training_on_a_shared_gpu_reaches_its_accuracy() -> None:
    with Cluster(2, device="cuda", backend="gloo") as cluster:
        assert cluster.run(train).wait().results[0]["accuracy"] > 0.95


@several
def test_nccl_with_one_gpu_a_rank() -> None:
    with Cluster(GPUS) as cluster:
        assert cluster.placement.backend == "nccl"
        for algorithm in ("ring", "builtin"):
            total = cluster.run(
                lambda worker, algorithm: worker.group.all_reduce(
                    worker.tensor(1000, fill=1.0), algorithm=algorithm
                )[0].item(),
                algorithm=algorithm,
            )
            assert total.wait().results == dict.fromkeys(range(GPUS), float(GPUS))


@several
def test_survivors_leave_a_collective_of_nccl() -> None:
    with Cluster(GPUS) as cluster:
        run = cluster.run(until_lost)
        run.wait_step(3)
        cluster.kill(GPUS - 1)
        assert run.wait().results == dict.fromkeys(range(GPUS - 1), (GPUS - 1, GPUS - 1.0))
