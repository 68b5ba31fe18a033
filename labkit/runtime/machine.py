"""What one machine offers to a cluster: GPUs, the environment's words about them, cores, limits.

`Machine` is plain data, so that `placement.place` can be a pure function and be tested on machines
that nobody here owns. `detect()` fills it in without importing torch or initialising CUDA: a
process that has touched CUDA can no longer fork workers that use it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import resource
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Gpu:
    """One physical GPU and the MIG slices (UUIDs) it is cut into, none when it is whole."""

    uuid: str
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """The facts that decide where ranks go, as seen by the process that asks.

    `mask` is CUDA_VISIBLE_DEVICES (None: unset). `torch_cuda` is `torch.version.cuda`, None in a
    CPU build. `hosts`, `rank`, `local_rank` and `own_gpu` matter when a launcher (srun, mpiexec)
    started this process as one task of many; `own_gpu`: it gave each task one GPU of its own.
    `memory` is what is available in bytes, `processes` and `open_files` are the limits on threads
    and on descriptors.
    """

    gpus: tuple[Gpu, ...] = ()
    mask: str | None = None
    torch_cuda: str | None = None
    nccl: bool = True
    hosts: int = 1
    rank: int | None = None
    local_rank: int | None = None
    own_gpu: bool = False
    cores: int = 1
    memory: float = float("inf")
    processes: float = float("inf")
    open_files: float = float("inf")


def detect(launcher: str = "local") -> Machine:
    """The machine under this process. With another launcher than "local", this process is a task.

    Takes about 10 ms; where `nvidia-smi` hangs with its driver, 10 s.
    """
    cuda = _torch_cuda()
    return read(
        _list_gpus(),
        os.environ,
        launcher=launcher,
        torch_cuda=cuda,
        nccl=cuda is not None and _has_nccl(),
        cores=_cores(),
        memory=_memory(),
        processes=min(_limit(resource.RLIMIT_NPROC), _cgroup("pids/pids.max", "pids.max")),
        open_files=_limit(resource.RLIMIT_NOFILE),
    )


def read(
    listing: str,
    environment: Mapping[str, str],
    launcher: str = "local",
    torch_cuda: str | None = None,
    nccl: bool = True,
    cores: int = 1,
    memory: float = float("inf"),
    processes: float = float("inf"),
    open_files: float = float("inf"),
) -> Machine:
    """A `Machine` from the text of `nvidia-smi -L` and an environment. Pure."""
    gpus = parse_listing(listing)
    mask = environment.get("CUDA_VISIBLE_DEVICES")
    limits = (cores, memory, processes, open_files)
    if launcher == "local":  # the driver forks its ranks: the task it is itself says nothing
        return Machine(gpus, mask, torch_cuda, nccl, 1, None, None, False, *limits)
    rank = _number(environment, "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
    local = _number(environment, "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
    hosts = _hosts(environment)
    own = _own_gpu(environment)
    return Machine(gpus, mask, torch_cuda, nccl, hosts, rank, local, own, *limits)


def parse_listing(listing: str) -> tuple[Gpu, ...]:
    """The GPUs in the output of `nvidia-smi -L`; lines about lost or broken GPUs are skipped."""
    gpus: list[Gpu] = []
    for line in listing.splitlines():
        found = re.search(r"\(UUID:\s*((GPU|MIG)-[^)\s]+)\s*\)", line)
        if found and found[2] == "GPU":
            gpus.append(Gpu(found[1]))
        elif found and gpus:
            gpus[-1] = Gpu(gpus[-1].uuid, (*gpus[-1].slices, found[1]))
    return tuple(gpus)


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    """The first of these variables that holds a number."""
    for name in names:
        if found := re.match(r"\d+", environment.get(name, "")):
            return int(found[0])
    return None


def _hosts(environment: Mapping[str, str]) -> int:
    world = _number(environment, "OMPI_COMM_WORLD_SIZE")
    local = _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
    if world and local:
        return -(-world // local)
    names = ("SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES")
    return _number(environment, *names) or 1


def _own_gpu(environment: Mapping[str, str]) -> bool:
    """Whether the launcher gave each task a GPU of its own, should a task see only one.

    Slurm says so with SLURM_GPUS_PER_TASK (`--gpus-per-task=1`), or when the step holds as many
    GPUs on this host as it has tasks here. Without such a word one visible GPU is shared by all.
    """
    per_task = environment.get("SLURM_GPUS_PER_TASK", "").rsplit(":", 1)[-1]  # "a100:1"
    held = environment.get("SLURM_STEP_GPUS", environment.get("SLURM_JOB_GPUS", ""))
    tasks = _number(environment, "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE") or 1
    return per_task == "1" or (tasks > 1 and len(held.split(",")) >= tasks)


def _torch_cuda() -> str | None:
    """`torch.version.cuda`, read from torch's version file: importing torch takes seconds."""
    if "torch" in sys.modules:
        return sys.modules["torch"].version.cuda  # type: ignore[no-any-return]
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    facts = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    cuda: str | None = facts.get("cuda")
    return cuda


def _has_nccl() -> bool:
    from torch import distributed  # only a CUDA build gets here, and importing it starts no CUDA

    return distributed.is_nccl_available()


def _list_gpus() -> str:
    """The text of `nvidia-smi -L`, or the same made from NVML; empty when there is no driver.

    A subprocess first: a driver that hangs takes only that along.
    """
    if program := shutil.which("nvidia-smi"):
        try:
            command = [program, "-L"]
            output = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
            if "UUID" in output:
                return output
        except (OSError, subprocess.TimeoutExpired):
            return ""
    try:
        return _list_by_nvml(ctypes.CDLL("libnvidia-ml.so.1"))
    except (OSError, AttributeError):
        return ""


def _list_by_nvml(nvml: ctypes.CDLL) -> str:
    """NVML is the library under nvidia-smi; containers often have it without the program."""

    def uuid(handle: ctypes.c_void_p) -> str:
        text = ctypes.create_string_buffer(96)
        return "" if nvml.nvmlDeviceGetUUID(handle, text, 96) else text.value.decode()

    if nvml.nvmlInit_v2() != 0:
        return ""
    count, handle, part = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_void_p()
    slices, lines = ctypes.c_uint(), []
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for i in range(count.value):
        if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(i), ctypes.byref(handle)) != 0:
            continue
        lines.append(f"GPU {i}: (UUID: {uuid(handle)})")
        slices.value = 0
        nvml.nvmlDeviceGetMaxMigDeviceCount(handle, ctypes.byref(slices))
        for j in range(slices.value):
            found = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, j, ctypes.byref(part)) == 0
            lines += [f"  MIG Device {j}: (UUID: {uuid(part)})"] if found else []
    nvml.nvmlShutdown()
    return "\n".join(lines)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory() -> float:
    """Bytes available here and now; a container's limit counts as the machine's end."""
    limit = _cgroup("memory/memory.limit_in_bytes", "memory.max")
    used = _cgroup("memory/memory.usage_in_bytes", "memory.current")
    left = limit - used if used < limit else float("inf")
    return min(float(psutil.virtual_memory().available), left)


def _cgroup(*names: str) -> float:
    """A number under /sys/fs/cgroup (version 1, version 2), infinite when there is none."""
    for name in names:
        try:
            return float(Path("/sys/fs/cgroup", name).read_text())
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return float("inf")


def _limit(which: int) -> float:
    hard = resource.getrlimit(which)[1]  # workers raise their soft limit to it
    return float("inf") if hard == resource.RLIM_INFINITY else float(hard)
