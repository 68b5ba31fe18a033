"""Links between real processes, and shared memory: right, left in time, nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

DEADLINE = 60.0  # seconds, for everything that the ranks of one test do; they take about 3
WAYS = ["", "1"]  # LABKIT_PORTABLE: with Linux's own aids, and without
PROGRAM = str(Path(__file__).with_name("link_ranks.py"))


class Ranks:
    """The processes that link_ranks.py has forked, seen from outside."""

    def __init__(
        self, server: subprocess.Popen[str], work: str, size: int, folder: Path, portable: str
    ) -> None:
        self.server, self.folder, self.size = server, folder, size
        assert server.stdin is not None
        print(work, size, folder, portable, file=server.stdin, flush=True)
        self.pids = [int(pid) for pid in self.said().split()]
        self.ended = False

    def said(self) -> str:
        assert self.server.stdout is not None
        ready, _, _ = select.select([self.server.stdout], [], [], DEADLINE)
        assert ready, "the ranks do not end"
        return self.server.stdout.readline()

    def answers(self) -> dict[int, str]:
        """What each rank left, once all have ended; a rank that was killed left nothing."""
        assert self.said() == "ended\n"
        self.ended = True
        return answers(self.folder, self.size)

    def wait_for(self, *names: str) -> None:
        end = time.monotonic() + DEADLINE
        while not all((self.folder / name).exists() for name in names):
            assert time.monotonic() < end, f"no rank made {names}"
            time.sleep(0.01)

    def end(self) -> None:
        if not self.ended:
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)  # not yet waited for, so the pid is still theirs
            self.said()


def answers(folder: Path, size: int) -> dict[int, str]:
    files = {rank: folder / str(rank) for rank in range(size)}
    return {rank: file.read_text() for rank, file in files.items() if file.exists()}


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process
        process.kill()


@pytest.fixture
def start(tmp_path: Path, server: subprocess.Popen[str]) -> Iterator[Callable[..., Ranks]]:
    """Starts ranks; afterwards none is left, and neither is any memory that they shared."""
    started: list[Ranks] = []
    (tmp_path / "temporary").mkdir()

    def start(work: str, size: int, portable: str = "") -> Ranks:
        started.append(Ranks(server, work, size, tmp_path, portable))
        return started[-1]

    yield start
    for ranks in started:
        ranks.end()
    assert os.listdir(tmp_path / "temporary") == [], "a file of shared memory is left"
    if Path("/dev/shm").exists():
        assert not [name for name in os.listdir("/dev/shm") if name.startswith("labkit")]


def test_every_collective_over_mpi(tmp_path: Path) -> None:
    mpiexec = [str(Path(sys.executable).with_name("mpiexec")), "--oversubscribe", "-n", "3"]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [*mpiexec, sys.executable, PROGRAM, str(tmp_path)]
    subprocess.run(command, env=os.environ | root, check=True, timeout=DEADLINE)
    assert answers(tmp_path, 3) == dict.fromkeys(range(3), "all right")


@pytest.mark.parametrize("work", ["over_gloo", "over_shared_memory"])
def test_every_collective_between_processes(start: Callable[..., Ranks], work: str) -> None:
    assert start(work, 3).answers() == dict.fromkeys(range(3), "all right")


def test_shared_memory_without_linuxs_aids(start: Callable[..., Ranks]) -> None:
    ranks = start("over_shared_memory", 4, portable="1")
    assert ranks.answers() == dict.fromkeys(range(4), "all right")


@pytest.mark.parametrize(
    ("work", "portable"),
    [("until_abandoned", ""), ("until_abandoned", "1"), ("until_deadline", "")],
)
def test_a_killed_rank_hangs_nobody(start: Callable[..., Ranks], work: str, portable: str) -> None:
    ranks = start(work, 4, portable)
    ranks.wait_for("busy0", "busy1", "busy2", "busy3")
    os.kill(ranks.pids[1], signal.SIGKILL)
    if work == "until_abandoned":
        (ranks.folder / "lost").touch()
    left = ranks.answers()
    assert set(left) == {0, 2, 3}
    for answer in left.values():
        assert answer.startswith("Abandoned: ")
        assert "form a new" in answer


@pytest.mark.parametrize("portable", WAYS)
def test_a_killed_maker_leaves_nothing(start: Callable[..., Ranks], portable: str) -> None:
    """The window in which the memory has been made and not all have mapped it."""
    ranks = start("maker_dies", 3, portable)
    words = ranks.answers() if portable else {}  # else the others wait for the store's answer
    assert all("cannot reach the shared memory of rank 0" in a for a in words.values())
    assert set(words) == ({1, 2} if portable else set())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps is Linux's")
def test_memory_is_given_back(start: Callable[..., Ranks]) -> None:
    assert start("leave_behind", 2).answers() == {0: "", 1: ""}


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="staging over Gloo needs a GPU")
def test_tensors_on_a_gpu_are_staged_for_gloo(start: Callable[..., Ranks]) -> None:
    assert start("over_gloo_on_gpu", 2).answers() == dict.fromkeys(range(2), "all right")


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
def test_several_ranks_of_nccl_share_a_gpu(start: Callable[..., Ranks]) -> None:
    """Function only, for machines with one: NCCL takes two ranks on a GPU for a mistake, unless
    each says that it is on a host of its own (NCCL_HOSTID). Nobody promises that it works."""
    assert start("over_nccl_on_one_gpu", 2).answers() == dict.fromkeys(range(2), "all right")


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
def test_a_group_of_nccl_that_is_left_leaves_the_gpu(start: Callable[..., Ranks]) -> None:
    assert start("leave_nccl_on_one_gpu", 2).answers() == {0: "left", 1: "waited"}


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL needs a GPU for each of two ranks")
def test_every_collective_over_nccl(start: Callable[..., Ranks]) -> None:
    assert start("over_nccl", 2).answers() == dict.fromkeys(range(2), "all right")
