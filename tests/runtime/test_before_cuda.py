"""What a process must not ask before its GPU is chosen. CUDA reads CUDA_VISIBLE_DEVICES once, when
it is first asked for anything; and whoever has asked can fork no other that uses it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from labkit import Cluster

# Each is a question to CUDA. What torch asks below Python is not seen here.
ASKED = """
import torch

def ask(*arguments, **settings):
    raise AssertionError("asked")

for name in dir(torch._C):
    if name.startswith("_cuda_"):
        setattr(torch._C, name, ask)
for name in ("is_available", "device_count", "current_device", "_lazy_init"):
    setattr(torch.cuda, name, ask)
"""


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", ASKED + code], check=True, timeout=120)


def test_the_fork_server_asks_nothing() -> None:
    run("from labkit.runtime.launch import forkserver; forkserver.prepare()")


def test_a_spare_that_warms_up_beside_a_gpu_trains_nothing() -> None:
    """Autograd and optimizers ask."""
    run("""
torch.cuda.is_available = lambda: True
torch.Tensor.backward = torch.optim.Optimizer.zero_grad = torch.optim.SGD.step = ask
from labkit.runtime.warm_up import warm_up
warm_up()
""")


def test_cublas_is_told_to_be_deterministic_before_it_begins() -> None:
    """Exact sums ask for deterministic algorithms, and torch refuses cuBLAS otherwise."""

    def setting(worker: Any) -> str:
        import os

        return os.environ["CUBLAS_WORKSPACE_CONFIG"]

    with Cluster(1, record=False) as cluster:
        assert cluster.run(setting).wait().results == {0: ":4096:8"}
