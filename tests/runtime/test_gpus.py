"""What only a machine with GPUs can show; elsewhere the list at the end of the tests names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from labkit import Cluster
from labkit.runtime.run import RunError
from labkit.training import train

GPUS = torch.cuda.device_count()
one = pytest.mark.skipif(GPUS < 1, reason="needs a GPU")
several = pytest.mark.skipif(GPUS < 2, reason="needs NCCL and two GPUs or more")


def until_lost(worker, algorithm="ring"):
    import torch

    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(1 << 20, fill=1.0), 0
    while True:
        step += 1
        try:
            group.all_reduce(tensor, "avg", algorithm)
        except PeerLost as lost:
            group = worker.regroup()
            torch.cuda.synchronize()  # nothing of the old group waits on the GPU
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


def poisoned(worker):
    """Rank 1's process can use no GPU any more: an index out of bounds, found by a kernel."""
    import torch

    worker.step(1)
    table = torch.zeros(4, device=worker.device)
    if worker.rank == 1 and worker.view.number == 1:
        table[torch.tensor([9], device=worker.device)].sum().item()
    worker.group.all_reduce(worker.tensor(1, fill=1.0))
    return float(table.sum())


@one
def test_a_device_assert_is_never_retried_in_place() -> None:
    """56: that process is of no use any more, and its GPU may be broken: no other life there."""
    with Cluster(2, device="cuda", backend="gloo", max_restarts=3) as cluster:
        run = cluster.run(poisoned, elastic=True)
        with pytest.raises(RunError, match="CUDA error"):
            run.wait(timeout=60)
        assert run.errors[1].kind in ("AcceleratorError", "RuntimeError")
        assert {event.life for event in run.events if event.rank == 1} == {0}


def asleep(worker):
    import torch

    worker.step(1)
    if worker.rank == 1:
        torch.cuda._sleep(10**12)  # cycles: ten minutes
    worker.group.all_reduce(worker.tensor(1, fill=1.0))


@one
def test_a_gpu_that_hangs_is_a_deadline_for_the_others() -> None:
    """57."""
    with Cluster(2, device="cuda", backend="gloo", deadline=5.0) as cluster:
        run = cluster.run(asleep)
        with pytest.raises(RunError, match="rank 1"):
            run.wait(timeout=60)
        assert run.errors[0].kind == "CollectiveTimeout"


def too_large(worker):
    import torch

    worker.step(1)
    if worker.rank == 1:
        torch.empty(1 << 60, device=worker.device)
    worker.group.barrier()


@one
def test_memory_that_is_not_there_is_not_asked_for_again() -> None:
    """59."""
    with Cluster(2, device="cuda", backend="gloo", max_restarts=3) as cluster:
        run = cluster.run(too_large, elastic=True)
        with pytest.raises(RunError, match="out of memory"):
            run.wait(timeout=60)
        assert {event.life for event in run.events if event.rank == 1} == {0}


@one
@pytest.mark.parametrize("model", ["cnn", "gpt"])
def test_a_resumed_training_on_a_gpu_has_the_weights_of_one_that_was_not_stopped(
    model: str, tmp_path: Path
) -> None:
    """With the random state of the GPU, and in exact sums."""
    job = {"model": model, "steps": 12, "exact": True}
    with Cluster(2, device="cuda", backend="gloo") as cluster:
        whole = cluster.run(train, **job).wait(timeout=300).results[0]
        half = {**job, "steps": 6, "checkpoints": str(tmp_path), "every": 6}
        cluster.run(train, **half).wait(timeout=300)
        resumed = cluster.run(train, **{**half, "steps": 12}).wait(timeout=300).results[0]
    assert resumed["hash"] == whole["hash"]


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
@pytest.mark.parametrize("algorithm", ["ring", "builtin"])
def test_survivors_leave_a_collective_of_nccl(algorithm: str) -> None:
    """58: the group is aborted, and another one formed."""
    with Cluster(GPUS) as cluster:
        run = cluster.run(until_lost, algorithm=algorithm)
        run.wait_step(3)
        cluster.kill(GPUS - 1)
        assert run.wait().results == dict.fromkeys(range(GPUS - 1), (GPUS - 1, GPUS - 1.0))
