"""Bad input is one sentence that says what to do, raised before anything is started."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from outside import workers

from labkit import At, Cluster, FaultPlan, Kill
from labkit.faults import Partition


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"world_size": 0}, "world_size"),
        ({"world_size": -3}, "world_size"),
        ({"world_size": 1_000_000}, "at most"),
        ({"world_size": 2, "backend": "smoke"}, "smoke"),
        ({"world_size": 2, "device": "abacus"}, "abacus"),
        ({"world_size": 2, "launcher": "pigeon"}, "pigeon"),
    ],
)
def test_a_cluster_that_cannot_be(arguments: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Cluster(**arguments)
    assert not workers()


def test_nccl_without_gpus() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has GPUs, so NCCL works")
    with pytest.raises(ValueError, match="gloo"):
        Cluster(2, backend="nccl")


def test_what_cannot_be_shipped(cluster: Cluster) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot be sent"):
        cluster.run(lambda worker: lock)
    with pytest.raises(TypeError, match="'handle'"):
        cluster.run(lambda worker, handle: None, handle=sys.stdout)
    with pytest.raises(TypeError, match="takes a function"):
        cluster.run(3)  # type: ignore[arg-type]


def test_a_result_too_large_for_the_wire_is_an_error_of_the_run(cluster: Cluster) -> None:
    from labkit import RunError

    with pytest.raises(RunError, match="too large"):
        cluster.run(lambda worker: bytes((256 << 20) + 1) if worker.rank == 0 else None).wait()


def test_ranks_that_do_not_exist(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="no rank 5"):
        cluster.kill(5)  # 4 is the witness
    with pytest.raises(ValueError, match="no rank -1"):
        cluster.pause(-1)
    with pytest.raises(ValueError, match="no rank 9"):
        cluster.run(print, faults=FaultPlan(At(Kill(9), step=1)))
    with pytest.raises(ValueError, match="no rank 7"):
        cluster.partition([0, 1], [2, 7])
    with pytest.raises(ValueError, match="factor"):
        cluster.slow(0, 0.5)
    with pytest.raises(ValueError, match="probability"):
        cluster.drop(0, 1, 2.0)
    with pytest.raises(ValueError, match="say when"):
        At(Partition(((0,), (1,))))


def test_a_closed_cluster_says_so() -> None:
    cluster = Cluster(1)
    cluster.close()
    cluster.close()
    assert "closed" in repr(cluster)
    with pytest.raises(RuntimeError, match="closed"):
        cluster.run(print)
    with pytest.raises(RuntimeError, match="closed"):
        cluster.kill(0)


def test_another_platform_is_refused_with_a_way_out() -> None:
    code = "import sys; sys.platform = 'win32'; import labkit"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "WSL2" in done.stderr
