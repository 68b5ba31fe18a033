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

import nbformat
import pytest
from outside import wait_until

from labkit import Cluster, events
from labkit.runtime.launch.process import import_path
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
    import sys

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


NOTEBOOK = """
from labkit import Cluster
from labkit.training.loop import train

job = {"model": "cnn", "steps": 400, "algorithm": "in_order", "checkpoints": checkpoints}
with Cluster(2, "gloo", "cpu") as cluster:
    run = cluster.run(train, elastic=True, every=1000, **job).wait()
assert "accuracy" in run.results[0], f"had to leave after step {run.results[0]['steps']}"
print("was done at step", run.results[0]["steps"])
"""


def write_notebook(folder: Path) -> Path:
    notebook = nbformat.v4.new_notebook()
    place = nbformat.v4.new_code_cell(f"checkpoints = {str(folder / 'checkpoints')!r}")
    place.metadata["tags"] = ["parameters"]
    notebook.cells = [place, nbformat.v4.new_code_cell(NOTEBOOK)]
    nbformat.write(notebook, folder / "job.ipynb")
    return folder / "job.ipynb"


def installed(folder: Path) -> Path:
    """The labkit of these tests, as a program."""
    program = folder / "labkit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m labkit.cli "$@"\n')
    program.chmod(0o755)
    return program


def submit(slurm: Path, folder: Path) -> str:
    script = str(ROOT / "cluster/slurm/notebook.sbatch")
    settings = {"LABKIT": str(installed(folder)), "PYTHONPATH": import_path()}
    settings |= SLURM["settings"](slurm)
    answer = subprocess.run(
        ["sbatch", "--parsable", script, str(write_notebook(folder))],
        env=os.environ | settings, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return answer.stdout.strip()


def steps(out: Path) -> list[list[int]]:
    """Those that rank 0 has told of, for each cluster in turn."""
    files = sorted(out.glob("clusters/**/rank0.0.jsonl"), key=lambda path: path.stat().st_ctime)
    told = [[e.data["step"] for e in events.read(file) if e.kind == "step"] for file in files]
    return [of_cluster for of_cluster in told if of_cluster]


@needs_slurm
def test_a_preempted_notebook_is_requeued_and_goes_on_from_its_checkpoint(
    slurm: Path, tmp_path: Path
) -> None:
    job = submit(slurm, tmp_path)
    out = tmp_path / f"runs/slurm-{job}"
    wait_until(lambda: steps(out), "the notebook does not train", 60)

    said(slurm, "srun", "-p", "urgent", "-N4", "true")  # takes all nodes from it
    wait_until(lambda: "JobState=COMPLETED" in show(slurm, job), "it does not end", 90)

    assert "Restarts=1" in show(slurm, job)
    first, second = steps(out)
    assert 0 < first[-1] < 400
    assert second == list(range(first[-1] + 1, 401)), "not from where it was told to leave"
    assert "was done at step 400" in (out / "job.ipynb").read_text()


def show(slurm: Path, job: str) -> str:
    return said(slurm, "scontrol", "show", "job", job)
