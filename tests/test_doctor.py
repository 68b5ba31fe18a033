"""The doctor's judgements on figures of many machines, and its examination of this one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labkit import doctor
from labkit.cli import app
from labkit.doctor import Finding, judge, measure
from labkit.runtime.machine import Gpu, Machine

NAMES = [
    *("python", "torch", "MPI", "GPUs", "NCCL", "cores", "memory", "limits", "runs folder"),
    *("fsync", "/dev/shm", "clock", "priority", "loopback", "host name"),
    *("fork server", "hosts", "address", "ports", "Slurm", "left behind"),
]
CPU, CUDA = Machine(), Machine(torch_cuda="12.6")
TWO = Machine(gpus=(Gpu("GPU-1"), Gpu("GPU-2")), torch_cuda="13.0")
SLICED = Machine(gpus=(Gpu("GPU-1", ("MIG-1", "MIG-2")),), torch_cuda="13.0")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_this_machine_is_examined_and_nothing_is_left_in_its_runs(runs: Path) -> None:
    findings = doctor.examine()
    assert [f.name for f in findings] == NAMES
    assert not [f for f in findings if "could not be checked" in f.found]
    assert all(f.advice for f in findings if f.state != "ok")
    assert list(runs.iterdir()) == []


def test_json_has_every_finding_and_the_status_is_0_without_a_failure(runs: Path) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(answer.stdout)
    assert [f["name"] for f in findings] == NAMES
    assert set(findings[0]) == {"name", "state", "found", "advice"}
    assert answer.exit_code == any(f["state"] == "fail" for f in findings)


def test_a_failure_is_in_the_table_and_in_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Finding("memory", "fail", "0.2 GB available", "close something")
    monkeypatch.setattr(doctor, "examine", lambda: [broken])
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 1
    for word in ("fail", "memory", "0.2 GB available", "close something"):
        assert word in answer.stdout


def test_a_check_that_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    def no_sockets() -> list[float]:
        raise PermissionError("sockets are not allowed here")

    monkeypatch.setattr(measure, "time_loopback", no_sockets)
    found = {f.name: f for f in doctor.examine()}["loopback"]
    assert found.state == "warn"
    assert "sockets are not allowed here" in found.found


# 200 writes of which four are slow: the 99th percentile is a slow one.
@pytest.mark.parametrize(
    ("slow", "state", "words"),
    [
        (0.0005, "ok", "from 5 ms on"),
        (0.0149, "ok", "from 149 ms on"),
        (0.0160, "warn", "timeout=0.16"),
        (0.2000, "fail", "timeout=2"),
    ],
)
def test_an_election_timeout_is_ten_times_a_slow_write(slow: float, state: str, words: str) -> None:
    finding = judge.fsync([0.0002] * 196 + [slow] * 4)
    assert finding.state == state
    assert words in finding.found + finding.advice


@pytest.mark.parametrize(
    ("finding", "state", "words"),
    [
        (judge.python((3, 10), "3.10.2"), "fail", "3.11 or newer"),
        (judge.python((3, 13), "3.13.0"), "ok", ""),
        (judge.torch(None, CPU), "fail", "make setup"),
        (judge.torch("2.9.1", CPU), "fail", "2.11 or newer"),
        (judge.torch("2.13.0+cpu", CPU), "ok", "Gloo"),
        (judge.torch("2.13.0", CUDA), "ok", "CUDA 12.6, with NCCL"),
        (judge.torch("2.13.0", Machine(torch_cuda="12.6", nccl=False)), "warn", "Gloo"),
        (judge.mpi("4.1", "mpiexec (Open MPI) 5.0"), "ok", "Open MPI"),
        (judge.mpi("4.1", None), "warn", "no mpiexec"),
        (judge.mpi(None, "mpiexec"), "warn", "no mpi4py"),
        (judge.gpus(Machine(gpus=(Gpu("GPU-1"),))), "warn", "built for the CPU"),
        (judge.gpus(CPU), "ok", "docker run --gpus all"),
        (judge.nccl(CPU, "2.29"), "ok", "Gloo"),
        (judge.gpus(replace(TWO, mask="")), "warn", "hidden by CUDA_VISIBLE_DEVICES=''"),
        (judge.nccl(replace(TWO, mask=""), "2.29"), "ok", "no GPU that torch can use"),
        (judge.nccl(TWO, "2.29"), "ok", "up to 2 ranks"),
        (judge.nccl(replace(TWO, mask="1"), "2.29"), "ok", "up to 1 rank"),
        (judge.nccl(SLICED, "2.29"), "ok", "does not work between MIG slices"),
        (judge.nccl(TWO, None), "warn", "make setup"),
        (judge.fork_server(2.5, ""), "ok", "after 2.5 s"),
        (judge.fork_server(25.0, ""), "warn", "local"),
        (judge.fork_server(0.1, "torch cannot be imported"), "fail", "torch cannot be imported"),
        (judge.slurm(None, None, None), "ok", "test-cluster"),
        (judge.slurm("slurm 22.05.8", None, None), "warn", "does not answer"),
        (judge.slurm("slurm", None, None), "warn", "or make one here: `cluster/slurm/test-cluster"),
        (judge.slurm("slurm 22.05.8", 4, None), "ok", "sbatch"),
        (judge.slurm("slurm 22.05.8", 4, "12"), "ok", "in job 12"),
        (judge.address("10.0.0.7", "127.0.1.1"), "ok", "10.0.0.7; its name means 127.0.1.1"),
        (judge.address(None, "127.0.0.1"), "ok", "no way"),
        (judge.ports(0.98, 32768, 60999), "ok", "98% free"),
        (judge.ports(0.01, 32768, 60999), "warn", "ip_local_port_range"),
        (judge.cores(1, 0.1), "warn", "two cores"),
        (judge.cores(4, 9.0), "warn", "busy"),
        (judge.memory(0.5e9), "fail", "close something"),
        (judge.memory(1.5e9), "warn", "world_size=2"),
        (judge.limits(100, 1e6), "warn", "ulimit"),
        (judge.limits(float("inf"), float("inf")), "ok", ""),
        (judge.space(Path("/r"), 1e8), "fail", "LABKIT_RUNS"),
        (judge.space(Path("/r"), 1e9), "warn", "2 GB"),
        (judge.shared_memory(64e6), "warn", "--shm-size"),
        (judge.shared_memory(None), "ok", "none here"),
        (judge.clock([0.05] * 100), "warn", "longer time-outs"),
        (judge.priority(True), "ok", "before other work"),
        (judge.priority(False), "warn", "CAP_SYS_NICE"),
        (judge.loopback([0.05] * 100), "warn", "busy"),
        (judge.name(5.0, "host: unknown"), "warn", "/etc/hosts"),
        (judge.left(["41 (3 min)", "42 (9 min)"]), "warn", "kill 41 42"),
        (judge.left([]), "ok", ""),
    ],
)
def test_judgements(finding: Finding, state: str, words: str) -> None:
    assert finding.state == state
    assert words in finding.found + finding.advice
    assert bool(finding.advice) == (state != "ok")


def test_percentiles() -> None:
    values = [float(v) for v in range(101)]
    assert [judge.percentile(values, p) for p in (0, 50, 99, 100)] == [0.0, 50.0, 99.0, 100.0]
    assert judge.percentile([7.0], 99) == 7.0
