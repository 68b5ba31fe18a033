"""Workers started by a real Slurm, of four nodes on this machine: `cluster/slurm/test-cluster`."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit import Cluster
from labkit.training.loop import train

ROOT = Path(__file__).resolve().parents[2]
TEST_CLUSTER = ROOT / "cluster/slurm/test-cluster"
SLURM = runpy.run_path(str(TEST_CLUSTER))
MISSING = [name for name in SLURM["NEEDED"] if not SLURM["program"](name)]
needs_slurm = pytest.mark.skipif(bool(MISSING), reason=f"needs Slurm: {SLURM['PACKAGES']}")
JOB = {"model": "cnn", "steps": 60, "algorithm": "in_order"}


def use(*words: object) -> None:
    """As a program: what it leaves running is no child of the tests."""
    subprocess.run([TEST_CLUSTER, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    """The folder of a running Slurm."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-lab-"))
    use("start", folder)
    yield folder
    use("stop", folder)
    shutil.rmtree(folder)


def said(slurm: Path, *command: str) -> str:
    settings = os.environ | SLURM["settings"](slurm)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def allocation(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """All four nodes; this process is its driver."""
    granted = SLURM["allocate"](slurm)
    for name, value in granted.items():
        monkeypatch.setenv(name, value)
    yield granted["SLURM_JOB_ID"]
    said(slurm, "scancel", granted["SLURM_JOB_ID"])


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    with Cluster(1, record=False) as one:
        return one.run(train, **JOB).wait().results[0]


def where(worker: Any) -> tuple[str, str, str, bool]:
    import os

    node, gpus = os.environ["SLURMD_NODENAME"], os.environ["SLURM_GPUS_ON_NODE"]
    return node, gpus, os.environ["IN_A_CONTAINER"], "LABKIT_TOKEN" in " ".join(sys.argv)


@needs_slurm
def test_a_node_is_lost_in_the_middle_of_an_elastic_training(
    slurm: Path, allocation: str, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_PREFIX", "env IN_A_CONTAINER='so to speak'")
    monkeypatch.setenv("LABKIT_LAUNCHER", "slurm")
    with Cluster(4, device="cpu", max_restarts=2) as cluster:
        places = cluster.run(where).wait(timeout=60).results
        assert places == {r: (f"n{r + 1}", "2", "so to speak", False) for r in range(4)}
        assert [cluster._driver.seats[rank].host for rank in range(4)] == ["n1", "n2", "n3", "n4"]
        run = cluster.run(train, elastic=True, minimum=4, **JOB)
        run.wait_step(10)
        use("lose", slurm, "n3")
        run.wait(timeout=60)
        assert {result["hash"] for result in run.results.values()} == {undisturbed["hash"]}
        assert sorted(run.results) == [0, 1, 2, 3]
        assert run.deaths[2].step is not None
        assert cluster._driver.seats[2].host in ("n1", "n2", "n4")
    use("return", slurm, "n3")
