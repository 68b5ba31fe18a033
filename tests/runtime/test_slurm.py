"""Workers started by a real Slurm, of four nodes on this machine: `cluster/slurm/test-cluster`."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from outside import Container, wait_until, write_program

from labkit import Cluster, events
from labkit.runtime import machine
from labkit.runtime.launch.launcher import AWAY_SILENCE
from labkit.runtime.launch.process import import_path
from labkit.runtime.launch.slurm import SlurmLauncher
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
    try:
        wait_until(lambda: not running(folder), "what ran on a node is left behind")
    finally:
        use("stop", folder)
        shutil.rmtree(folder)


def running(slurm: Path) -> dict[str, list[int]]:
    """The processes on nodes without their daemons, of which each has its keeper and a slurmd."""
    found = {node: SLURM["on_node"](slurm, node) for node in SLURM["NODES"]}
    return {node: processes for node, processes in found.items() if len(processes) > 2}


def said(slurm: Path, *command: str) -> str:
    settings = SLURM["environment"](slurm)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


Allocate = Callable[..., None]


@pytest.fixture
def allocate(slurm: Path) -> Iterator[Allocate]:
    """Grants nodes, all unless they are named; this process is the driver of the last."""
    with contextlib.ExitStack() as jobs:
        yield lambda *nodes: jobs.enter_context(SLURM["allocated"](slurm, nodes or SLURM["NODES"]))


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    with Cluster(1, record=False) as one:
        return one.run(train, **JOB).wait().results[0]


@needs_slurm
def test_the_small_slurm_says_why_it_does_not_do_what_it_is_told(
    slurm: Path, tmp_path: Path
) -> None:
    """And goes on as before."""
    refused = {
        ("start", slurm): "already: use it, or `test-cluster stop",
        ("return", slurm, "n3"): f"n3 of {slurm} is there",
        ("lose", tmp_path, "n3"): "n3 of .* is lost already, or was never there",
        ("stop", tmp_path): "no Slurm runs in",
        ("start", "/proc/nowhere"): "cannot be made",
    }
    for words, sentence in refused.items():
        told = subprocess.run([TEST_CLUSTER, *map(str, words)], capture_output=True, text=True)
        assert told.returncode == 1
        assert re.search(sentence, told.stderr), told.stderr
        assert "Traceback" not in told.stderr
    assert said(slurm, "srun", "-N4", "echo", "there").split() == ["there"] * 4


@needs_slurm
def test_it_is_stopped_whole_although_its_keepers_have_been_killed(tmp_path: Path) -> None:
    """With what they kept: the daemons, and the step of a job."""
    use("start", tmp_path)
    inside = SLURM["environment"](tmp_path)
    step = subprocess.Popen(["srun", "-N4", "sleep", "600"], env=inside, start_new_session=True)
    nodes = lambda: [SLURM["on_node"](tmp_path, node) for node in SLURM["NODES"]]  # noqa: E731
    wait_until(lambda: all(len(node) > 3 for node in nodes()), "the step does not begin")
    there = SLURM["family"](*(pid for pids in SLURM["daemons"](tmp_path).values() for pid in pids))
    for keeper in filter(SLURM["keeps"], there):
        os.kill(keeper, signal.SIGKILL)
    use("stop", tmp_path)
    assert not [pid for pid in there if SLURM["family"](pid)]
    step.kill()
    step.wait()
    use("start", tmp_path)  # what is left of it keeps nobody from making another there
    use("stop", tmp_path)


@needs_slurm
def test_within_an_allocation_of_another_slurm_that_ones_words_are_left_out(
    slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook of a job. There `srun` would take them for its own."""
    others = {"SLURM_JOBID": "77", "SLURM_NTASKS": "3", "SLURM_NODELIST": "big[1-9]"}
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    with SLURM["allocated"](slurm):
        assert subprocess.run(["srun", "-N4", "true"], env=os.environ).returncode == 0
        assert os.environ["SLURM_CONF"] == f"{slurm}/slurm.conf"
        assert not set(others) & set(os.environ)
    assert others.items() <= os.environ.items()
    assert "SLURM_JOB_ID" not in os.environ


def where(worker: Any) -> tuple[str, str, str, bool]:
    import os

    node, gpus = os.environ["SLURMD_NODENAME"], os.environ["SLURM_GPUS_ON_NODE"]
    return node, gpus, os.environ["IN_A_CONTAINER"], "LABKIT_TOKEN" in " ".join(sys.argv)


@needs_slurm
def test_a_node_is_lost_in_the_middle_of_an_elastic_training(
    slurm: Path,
    allocate: Allocate,
    undisturbed: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    allocate()
    container = Container(tmp_path)
    monkeypatch.setenv("LABKIT_PREFIX", f"{container.prefix} IN_A_CONTAINER='so to speak'")
    monkeypatch.setenv("LABKIT_LAUNCHER", "slurm")
    with Cluster(4, device="cpu", max_restarts=2) as cluster:
        places = cluster.run(where).wait(timeout=60).results
        assert places == {r: (f"n{r + 1}", "2", "so to speak", False) for r in range(4)}
        assert [cluster._driver.seats[rank].host for rank in range(4)] == ["n1", "n2", "n3", "n4"]
        assert cluster._driver.silence == AWAY_SILENCE
        run = cluster.run(train, elastic=True, minimum=4, **JOB)
        run.wait_step(10)
        use("lose", slurm, "n3")
        run.wait(timeout=60)
        assert {result["hash"] for result in run.results.values()} == {undisturbed["hash"]}
        assert sorted(run.results) == [0, 1, 2, 3]
        assert run.deaths[2].step is not None
        assert cluster._driver.seats[2].host in ("n1", "n2", "n4")
        assert container.missing(cluster) == {}
    with Cluster(4, device="cpu") as another:  # the notebook's next, in the same job
        assert "on each of 3 hosts" in str(another.placement)
        assert [places[0] for places in another.run(where).wait(timeout=60).results.values()] == [
            *("n1", "n1", "n2", "n2")
        ]
    use("return", slurm, "n3")


@needs_slurm
@pytest.mark.long
def test_a_node_is_lost_between_two_runs_of_which_the_next_wants_all_ranks(
    slurm: Path, allocate: Allocate, undisturbed: Any
) -> None:
    """As in a notebook whose cells share a cluster. Without a launcher that replaces it, whoever
    runs the cells brings its rank back, on another node."""
    allocate()
    with Cluster(4, "gloo", "cpu", "slurm") as cluster:
        use("lose", slurm, "n3")
        run = cluster.run(train, elastic=True, minimum=4, **JOB)
        wait_until(lambda: 2 not in cluster._driver.living(), "nobody misses rank 2")
        cluster.restart()
        run.wait(timeout=60)
        assert cluster._driver.seats[2].host in ("n1", "n2", "n4")
    assert sorted(run.results) == [0, 1, 2, 3]
    assert {result["hash"] for result in run.results.values()} == {undisturbed["hash"]}
    use("return", slurm, "n3")


@needs_slurm
def test_an_srun_that_cannot_be_started_is_an_error_at_once(
    allocate: Allocate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate()
    for name in ("scontrol", "squeue", "sinfo", "scancel"):
        (tmp_path / name).symlink_to(SLURM["program"](name))
    write_program(tmp_path / "srun").write_text("#!/no/such/shell\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=r"did not start.*\n.*srun cannot be started: .*'srun'"):
        Cluster(2, launcher="slurm")
    assert time.monotonic() - begin < SlurmLauncher.start_seconds / 10


@needs_slurm
def test_what_srun_says_while_nobody_comes_is_in_the_error(
    allocate: Allocate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate()
    write_program(tmp_path / "srun", "echo 'Step creation temporarily disabled' >&2; exec sleep 5")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(SlurmLauncher, "start_seconds", 1.0)
    with pytest.raises(RuntimeError, match=r"rank 0 starting.*\nStep creation temporarily"):
        Cluster(2, launcher="slurm")


@needs_slurm
def test_a_node_that_is_lost_before_its_rank_has_come_is_an_error_at_once(
    slurm: Path, allocate: Allocate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate()
    there = tmp_path / "there"
    stands = f'if [ "$SLURMD_NODENAME" = n3 ]; then touch {there}; sleep 600; fi'
    monkeypatch.setenv("LABKIT_PREFIX", str(write_program(tmp_path / "on", stands, 'exec "$@"')))

    def lose() -> None:
        wait_until(there.exists, "nobody comes to n3")
        use("lose", slurm, "n3")

    losing = threading.Thread(target=lose)
    losing.start()
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=r"rank 2 ended by the loss of its host .*\n.*Node fail"):
        Cluster(4, launcher="slurm")
    assert time.monotonic() - begin < SlurmLauncher.start_seconds / 10
    losing.join()
    use("return", slurm, "n3")


def granted(worker: Any) -> tuple[str, str]:
    import os

    return os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"]


@needs_slurm
@pytest.mark.long
def test_each_rank_has_a_gpu_of_its_own_where_the_nodes_grant_different_ones(
    allocate: Allocate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate("n1")  # somebody else's job, which has the first two GPUs of n1
    allocate("n1", "n2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")  # as a job's script has it on n1
    gpus = (f"echo 'GPU {number}: H200 (UUID: GPU-{number})'" for number in range(4))
    write_program(tmp_path / "nvidia-smi", *gpus)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "_torch_cuda", lambda: "13.0")
    monkeypatch.setattr(machine, "_has_nccl", lambda: False)
    with Cluster(4, launcher="slurm") as cluster:
        assert "4 ranks, 2 GPUs on each of 2 hosts" in str(cluster.placement)
        assert "one GPU a rank" in str(cluster.placement)
        found = cluster.run(granted).wait(timeout=60).results
        assert found == {0: ("n1", "2"), 1: ("n1", "3"), 2: ("n2", "0"), 3: ("n2", "1")}


def trains(folder: Path, every: int) -> str:
    """60 steps. In the first life of the job those from the 16th on take half a second, so that
    there is time to do something to it."""
    job = {**JOB, "checkpoints": str(folder / "checkpoints"), "every": every}
    return f"job = {job!r}{TRAINING}"


TRAINING = """
import os
import time

from labkit import Cluster
from labkit.training.loop import train


def dawdle(step):
    if step >= 15 and "SLURM_RESTART_COUNT" not in os.environ:  # in the first life of the job
        time.sleep(0.5)
    return 1.0


with Cluster(2, "gloo", "cpu", seed=0) as cluster:
    run = cluster.run(train, elastic=True, schedule=dawdle, **job).wait()
assert "accuracy" in run.results[0], f"had to leave after step {run.results[0]['steps']}"
print("its weights are", run.results[0]["hash"])
"""


class Job:
    """A notebook, submitted as a user does."""

    def __init__(self, slurm: Path, folder: Path, code: str) -> None:
        self.slurm, self.folder = slurm, folder
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(notebook, folder / "job.ipynb")
        labkit = write_program(folder / "labkit", f'exec {sys.executable} -P -m labkit.cli "$@"')
        settings = {"LABKIT": str(labkit), "PYTHONPATH": import_path()}
        script = str(ROOT / "cluster/slurm/notebook.sbatch")
        answer = subprocess.run(
            ["sbatch", "--parsable", script, "job.ipynb"],
            env=SLURM["environment"](slurm) | settings,
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.number = answer.stdout.strip()

    def steps(self) -> list[list[int]]:
        """Those that any rank has told of, for each cluster in turn."""
        clusters = sorted(self.folder.glob("runs/*/clusters/*/events"))
        told = [{e.data["step"] for e in events.read(c) if e.kind == "step"} for c in clusters]
        return [sorted(steps) for steps in told]

    def wait_step(self, step: int) -> None:
        self.until(lambda: any(step in steps for steps in self.steps()), "it does not train")

    def until(self, true: Callable[[], bool], otherwise: str) -> None:
        try:
            wait_until(true, otherwise, 120)
        except AssertionError:
            raise AssertionError(f"{otherwise}: {self.output()}") from None

    def is_(self, *words: str) -> bool:
        shown = said(self.slurm, "scontrol", "show", "job", self.number).split()
        return set(words) <= set(shown)

    def begin_anew(self) -> None:
        """In two minutes, says Slurm (AuthInfo's cred_expire in slurm.conf(5)); in the second in
        which the job was ended its new credential would count as revoked."""
        self.until(lambda: self.is_("Restarts=1", "JobState=PENDING"), "it is not requeued")
        said(self.slurm, "scontrol", "update", f"jobid={self.number}", "StartTime=now+2")

    def wait(self) -> None:
        over = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT")
        self.until(lambda: any(self.is_(f"JobState={s}") for s in over), "it does not end")
        assert self.is_("JobState=COMPLETED", "Restarts=1"), self.output()

    def output(self) -> str:
        return "".join(file.read_text() for file in self.folder.glob("slurm-*.out"))

    def printed(self) -> str:
        return (self.folder / f"runs/slurm-{self.number}/job.ipynb").read_text()


TAKES_THE_NODES_BACK = {
    "a job that may preempt it": ("srun", "-p", "urgent", "-N4", "--exclusive", "true"),
    "the operator, who requeues it": ("scontrol", "requeue"),
    "a signal": ("scancel", "--signal=TERM"),
}


@needs_slurm
@pytest.mark.long
@pytest.mark.parametrize("who", TAKES_THE_NODES_BACK)
def test_a_preempted_notebook_is_requeued_and_goes_on_from_its_last_step(
    slurm: Path, tmp_path: Path, undisturbed: Any, who: str
) -> None:
    job = Job(slurm, tmp_path, trains(tmp_path, every=1000))
    job.wait_step(16)
    command = TAKES_THE_NODES_BACK[who]
    said(slurm, *command, *([] if command[0] == "srun" else [job.number]))
    job.begin_anew()
    job.wait()
    first, second = job.steps()
    assert 16 <= first[-1] < 60, "it ended before it was told to leave"
    assert second == list(range(first[-1] + 1, 61)), "not from the step at which it left"
    assert f"its weights are {undisturbed['hash']}" in job.printed()
    assert "Slurm takes its nodes back: the job is requeued" in job.output()


@needs_slurm
@pytest.mark.long
def test_the_first_node_is_lost_and_the_job_begins_anew_from_its_checkpoint(
    slurm: Path, tmp_path: Path, undisturbed: Any
) -> None:
    job = Job(slurm, tmp_path, trains(tmp_path, every=5))
    job.wait_step(16)
    use("lose", slurm, "n1")
    use("return", slurm, "n1")  # whole again, and empty
    job.begin_anew()
    job.wait()
    first, second = job.steps()
    assert 16 <= first[-1] < 60
    assert second == list(range(second[0], 61))
    assert second[0] in range(6, first[-1] + 2, 5), "not from a checkpoint of every fifth step"
    assert f"its weights are {undisturbed['hash']}" in job.printed()
    assert "Node n1 is lost, and the driver with it: the job is requeued" in job.output()


WANTS_ALL_NODES = """
import os, pathlib, time
if "SLURM_RESTART_COUNT" not in os.environ:
    pathlib.Path("it runs").touch()
    while not pathlib.Path("a node is lost").exists():
        time.sleep(0.1)
    raise RuntimeError("three nodes are too few")
"""


@needs_slurm
@pytest.mark.long
def test_a_notebook_that_fails_for_a_lost_node_begins_anew(slurm: Path, tmp_path: Path) -> None:
    job = Job(slurm, tmp_path, WANTS_ALL_NODES)
    job.until((tmp_path / "it runs").exists, "it does not run")
    use("lose", slurm, "n3")
    (tmp_path / "a node is lost").touch()
    job.until(lambda: job.is_("Restarts=1", "JobState=PENDING"), "it is not requeued")
    use("return", slurm, "n3")
    job.begin_anew()
    job.wait()
    assert (
        "The job has lost a node, and its notebook has failed: the job is requeued" in job.output()
    )
