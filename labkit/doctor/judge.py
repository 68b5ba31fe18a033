"""How what was measured is judged: figures in, a `Finding` out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from labkit.runtime.machine import Machine
from labkit.runtime.placement import visible_slots

TEST_CLUSTER = "`cluster/slurm/test-cluster start`"
SLURM_PACKAGES = "apt-get install slurmctld slurmd slurm-client munge"
State = Literal["ok", "warn", "fail"]
GB = 1e9
ELECTION = 0.150
"""The shortest election time-out in use, in seconds: Raft's 150 to 300 ms."""


class Finding(Struct, frozen=True):
    """`found` is what was measured; `advice` what to do, empty where nothing is."""

    name: str
    state: State
    found: str
    advice: str = ""


def python(version: tuple[int, ...], text: str) -> Finding:
    if version < (3, 11):
        return Finding(
            "python", "fail", text, "make PYTHON=python3.12: the lab needs 3.11 or newer"
        )
    return Finding("python", "ok", text)


def torch(version: str | None, machine: Machine) -> Finding:
    if version is None:
        return Finding("torch", "fail", "not installed", "`make setup` installs it")
    parts = tuple(int(p) for p in version.split("+")[0].split(".")[:2])
    build = f"CUDA {machine.torch_cuda}" if machine.torch_cuda else "CPU"
    found = f"{version}, built for {build}"
    if parts < (2, 11):
        return Finding("torch", "fail", found, "the lab needs 2.11 or newer: `make setup`")
    if machine.torch_cuda and not machine.nccl:
        return Finding("torch", "warn", found + ", without NCCL", "GPUs will talk through Gloo")
    return Finding("torch", "ok", found + (", with NCCL" if machine.torch_cuda else ", with Gloo"))


def mpi(mpi4py: str | None, mpiexec: str | None) -> Finding:
    if mpi4py and mpiexec:
        return Finding("MPI", "ok", f"{mpiexec}; mpi4py {mpi4py}")
    missing = "mpiexec" if mpi4py else "mpi4py"
    advice = f'{missing} is needed for launcher="mpi" and its benches only: `make setup` brings it'
    return Finding("MPI", "warn", f"no {missing}", advice)


def gpus(machine: Machine) -> Finding:
    count = len(machine.gpus)
    if count and not visible_slots(machine):
        found = f"{count}, hidden by CUDA_VISIBLE_DEVICES={machine.mask!r}"
        return Finding("GPUs", "warn", found, "unset it, or name those that ranks may use")
    if count and machine.torch_cuda is None:
        advice = "this torch is built for the CPU: `make setup` without TORCH=cpu brings CUDA"
        return Finding("GPUs", "warn", f"{count}, which torch cannot use", advice)
    none = "none that `nvidia-smi -L` lists, so ranks use the CPU, with Gloo; "
    in_a_container = "in a container they are asked for: docker run --gpus all, apptainer --nv"
    return Finding("GPUs", "ok", f"{count}" if count else none + in_a_container)


def nccl(machine: Machine, version: str | None) -> Finding:
    """What groups of ranks on GPUs talk through, and with how many ranks."""
    if machine.torch_cuda is None or not visible_slots(machine):
        return Finding("NCCL", "ok", "not needed: no GPU that torch can use, so ranks use Gloo")
    if version is None or not machine.nccl:
        advice = "a build of torch with it: `make setup`; until then GPUs talk through Gloo"
        return Finding("NCCL", "warn", "this torch has none", advice)
    slots = visible_slots(machine)
    if any(slot.mig for slot in slots):
        unused = "it does not work between MIG slices, so ranks talk through Gloo"
        return Finding("NCCL", "ok", unused)
    ranks = "1 rank" if len(slots) == 1 else f"{len(slots)} ranks"
    up_to = f"{version}, for up to {ranks}, one a GPU"
    return Finding("NCCL", "ok", f"{up_to}; more share GPUs and talk through Gloo")


def fork_server(seconds: float, error: str) -> Finding:
    """It forks the ranks, so that only the first cluster waits for torch."""
    if error:
        return Finding("fork server", "fail", "does not start", error)
    found = f"has imported torch after {seconds:.1f} s, then ranks start at once"
    if seconds > 20:
        advice = "torch is read slowly: put the environment on a local disk of this machine"
        return Finding("fork server", "warn", found, advice)
    return Finding("fork server", "ok", found)


def slurm(version: str | None, nodes: int | None, job: str | None) -> Finding:
    """`nodes` as the controller has them; None where it does not answer."""
    if version is None:
        how = f"{TEST_CLUSTER} makes one of four nodes once it is installed"
        return Finding("Slurm", "ok", f"none here, and nothing needs it; {how} ({SLURM_PACKAGES})")
    if nodes is None:
        advice = "set SLURM_CONF, or go to its login node; or make one here: " + TEST_CLUSTER
        return Finding("Slurm", "warn", f"{version}, whose controller does not answer", advice)
    where = f"in job {job}" if job else "outside of a job: sbatch cluster/slurm/notebook.sbatch"
    return Finding("Slurm", "ok", f"{version}, {nodes} nodes; {where}")


def address(route: str | None, name: str) -> Finding:
    """`route`: this host's address on the way to others; `name`: what its own name means here."""
    if route is None:
        return Finding("address", "ok", "no way to other machines, and none is needed on this one")
    found = f"others reach this machine at {route}"
    if name.startswith("127."):
        return Finding("address", "ok", f"{found}; its name means {name}, so the lab never uses it")
    return Finding("address", "ok", found)


def ports(free: float, first: int, last: int) -> Finding:
    """The range from which the kernel takes a port where 0 is asked for."""
    found = f"{first} to {last}, about {free:.0%} free"
    if (last - first) * free < 500:
        advice = "a cluster of eight takes 100: end what holds them, or widen ip_local_port_range"
        return Finding("ports", "warn", found, advice)
    return Finding("ports", "ok", found)


def cores(cores: int, load: float) -> Finding:
    found = f"{cores}, load {load:.1f}"
    if cores < 2:
        return Finding("cores", "warn", found, "works; figures in the notebooks are of two cores")
    if load > cores:
        advice = "something else is busy here: time-outs may strike early, figures are noisy"
        return Finding("cores", "warn", found, advice)
    return Finding("cores", "ok", found)


def memory(free: float) -> Finding:
    found = f"{free / GB:.1f} GB available"
    if free < 1 * GB:
        return Finding(
            "memory", "fail", found, "four ranks and a notebook take 1 GB: close something"
        )
    if free < 2 * GB:
        return Finding(
            "memory", "warn", found, "enough for four ranks; use world_size=2 for more room"
        )
    return Finding("memory", "ok", found)


def limits(processes: float, files: float) -> Finding:
    found = f"up to {processes:g} processes, {files:g} open files in each"
    if processes < 200 or files < 1024:
        advice = "raise them (ulimit -u 4096, ulimit -n 4096, or the container's pids limit)"
        return Finding("limits", "warn", found, advice)
    return Finding("limits", "ok", found)


def space(folder: Path, free: float) -> Finding:
    found = f"{folder}: {free / GB:.0f} GB free"
    if free < 0.5 * GB:
        return Finding(
            "runs folder", "fail", found, "free some space, or set LABKIT_RUNS elsewhere"
        )
    if free < 4 * GB:
        advice = "runs may grow to 2 GB (LABKIT_RUNS_LIMIT); checkpoints come on top"
        return Finding("runs folder", "warn", found, advice)
    return Finding("runs folder", "ok", found)


def fsync(seconds: Sequence[float]) -> Finding:
    """A leader that waits for its disk must not look dead: an election time-out is at least ten
    times the 99th percentile of a write."""
    middle, high = percentile(seconds, 50), percentile(seconds, 99)
    allowed = 10 * high
    found = f"{1000 * middle:.2f} ms, p99 {1000 * high:.2f} ms (small append, {len(seconds)} times)"
    allows = f"allows election time-outs from {1000 * allowed:.0f} ms on"
    if allowed <= ELECTION:
        return Finding("fsync", "ok", f"{found}; {allows}")
    advice = f"{allows}: give Raft timeout={allowed:.2g}, or put LABKIT_RUNS on a faster disk"
    return Finding("fsync", "warn" if allowed <= 10 * ELECTION else "fail", found, advice)


def clock(late: Sequence[float]) -> Finding:
    clock = time.get_clock_info("monotonic")
    high = percentile(late, 99)
    found = (
        f"monotonic, {1e9 * clock.resolution:g} ns; timers are late by {1000 * high:.2f} ms (p99)"
    )
    if not clock.monotonic or clock.resolution > 0.001:
        return Finding("clock", "fail", found, "time-outs need a monotonic clock finer than 1 ms")
    if high > 0.02:
        advice = "heartbeats will come late: close what is busy, or use longer time-outs"
        return Finding("clock", "warn", found, advice)
    return Finding("clock", "ok", found)


def priority(first: bool) -> Finding:
    if first:
        return Finding("priority", "ok", "heartbeats go before other work")
    found = "heartbeats wait for their turn when the cores are busy"
    advice = "use silence=1.0 or more; for less, root or CAP_SYS_NICE (docker --cap-add SYS_NICE)"
    return Finding("priority", "warn", found, advice)


def loopback(seconds: Sequence[float]) -> Finding:
    middle, high = percentile(seconds, 50), percentile(seconds, 99)
    found = f"there and back {1e6 * middle:.0f} µs, p99 {1e6 * high:.0f} µs, any free port"
    if high > 0.02:
        return Finding("loopback", "warn", found, "this machine is busy or a firewall looks at it")
    return Finding("loopback", "ok", found)


def name(seconds: float, what: str) -> Finding:
    found = f"{what}, looked up in {1000 * seconds:.0f} ms"
    if seconds > 0.5:
        advice = "torchrun and TCPStore look it up and stall as long: add it to /etc/hosts"
        return Finding("host name", "warn", found, advice)
    return Finding("host name", "ok", found)


def hosts(why_not: str | None) -> Finding:
    if why_not is None:
        return Finding("hosts", "ok", "network namespaces, with a bridge and cables between them")
    found, _, reason = why_not.partition(": ")
    return Finding("hosts", "warn", found, f"{reason}; all else works without")


def left(processes: Sequence[str]) -> Finding:
    if not processes:
        return Finding("left behind", "ok", "no process without its driver")
    pids = " ".join(text.split()[0] for text in processes)
    return Finding("left behind", "warn", f"processes {', '.join(processes)}", f"kill {pids}")


def shared_memory(free: float | None) -> Finding:
    if free is None:
        return Finding("/dev/shm", "ok", "none here: the lab uses files instead")
    found = f"{free / GB:.2f} GB free"
    if free < 0.25 * GB:
        advice = "NCCL and data loaders need it: docker run --shm-size=2g, or --ipc=host"
        return Finding("/dev/shm", "warn", found, advice)
    return Finding("/dev/shm", "ok", found)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
