"""Where each rank runs: a pure function from world size, GPUs and environment to devices.

Nothing here imports torch, starts CUDA or asks the operating system; the facts come in as a
`Machine` (labkit/runtime/machine.py). Each GPU rank gets a CUDA_VISIBLE_DEVICES with exactly one
entry and is at home on "cuda:0": a rank cannot touch another's GPU by mistake, and a MIG slice is
chosen the same way as a whole GPU (CUDA lets a process see only one slice in any case).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from labkit.runtime.machine import Machine, detect

__all__ = [
    "Home",
    "Machine",
    "Placement",
    "detect",
    "largest_world",
    "place",
    "too_many_beats",
    "visible_there",
]

MB = 1_000_000
CPU_RANK = 60 * MB  # private memory of a rank with torch imported, forked: measured 55–60 MB
CUDA_RANK = 500 * MB  # with a CUDA context and its libraries' private data: a cautious estimate
THREADS_A_RANK = 16  # main, host, group, writer, Gloo's and torch's own
FILES_A_PEER, FILES_ALONE = 8, 64  # descriptors of one process: per peer, and for itself
BEAT = 25e-6  # seconds of a core for a heartbeat, both ends together: measured with 8 and 20 ranks
BEATS = 3
"""Heartbeats to each of the others in the time that a silence may last: two may be late."""


@dataclass(frozen=True)
class Home:
    """Where one rank lives. `visible` is its CUDA_VISIBLE_DEVICES, as the driver's host numbers
    GPUs; None leaves it untouched. `slot`, with many hosts, is the GPU's place among those that its
    own host was granted (`visible_there`)."""

    rank: int
    device: str
    visible: str | None
    backend: str
    slot: int | None = None


@dataclass(frozen=True)
class Placement:
    """All ranks' homes, and why. `staged`: tensors are copied to the host for communication."""

    backend: str
    staged: bool
    ranks: tuple[Home, ...]
    reason: str
    warning: str | None = None

    def __str__(self) -> str:
        return self.reason

    def home(self, rank: int) -> Home:
        """Also the witness's, which comes after the last rank and is to touch no GPU."""
        return (*self.ranks, Home(len(self.ranks), "cpu", "", "gloo"))[rank]


@dataclass(frozen=True)
class Slot:
    """One thing that can be named in CUDA_VISIBLE_DEVICES: a whole GPU or a MIG slice."""

    name: str
    gpu: int
    mig: bool = False


def place(
    world_size: int, backend: str = "auto", device: str = "auto", *, machine: Machine
) -> Placement:
    """Device and backend of every rank.

    `backend`: "auto", "nccl", "gloo"; `device`: "auto", "cpu", "cuda". Ranks fill hosts in blocks,
    as mpiexec and srun do by default. Raises ValueError, one sentence that says what to do.
    """
    _check_words(world_size, backend, device)
    slots = visible_slots(machine)
    local = math.ceil(world_size / machine.hosts)
    usable = len(slots) if machine.torch_cuda else 0
    on_gpu = device != "cpu" and usable > 0
    _check_gpus(machine, backend, device, usable)
    _check_size(world_size, local, machine, on_gpu)
    if not on_gpu:
        homes = tuple(Home(r, "cpu", None, "gloo") for r in range(world_size))
        reason, warning = _cpu_reason(world_size, machine, device, slots)
        return Placement("gloo", False, homes, reason, warning)

    obstacle = _nccl_obstacle(machine, slots, local)
    if backend == "nccl" and obstacle:
        raise ValueError(f"backend='nccl' cannot be had: {obstacle}; use backend='gloo' or 'auto'.")
    chosen = "gloo" if backend == "gloo" or obstacle else "nccl"
    homes = tuple(_home(r, local, slots, machine, chosen) for r in range(world_size))
    reason = _gpu_reason(world_size, local, machine, slots, chosen, obstacle, backend)
    return Placement(chosen, chosen == "gloo", homes, reason)


# What CUDA makes of the mask


def visible_slots(machine: Machine) -> tuple[Slot, ...]:
    """The GPUs and MIG slices that CUDA_VISIBLE_DEVICES leaves, as CUDA and torch read it.

    The list ends at its first entry that means nothing (-1, out of range, "NoDevFiles"), and an
    entry that comes twice leaves no device at all (torch.cuda._parse_visible_devices). A GPU that
    is cut into slices stands for all of them.
    """
    if machine.mask is None:
        chosen: list[Slot] = [_whole(i, machine) for i in range(len(machine.gpus))]
    elif machine.mask.startswith(("GPU-", "MIG-")):
        chosen = _by_uuid(machine.mask, machine)
    else:
        chosen = _by_index(machine.mask, machine)
    if len(set(chosen)) < len(chosen):
        return ()
    return tuple(s for slot in chosen for s in _slices(slot, machine))


def _whole(index: int, machine: Machine) -> Slot:
    # Beside a GPU with slices, CUDA's numbering of the others is not nvidia-smi's: name by UUID.
    mixed = any(gpu.slices for gpu in machine.gpus)
    return Slot(machine.gpus[index].uuid if mixed else str(index), index)


def _slices(slot: Slot, machine: Machine) -> list[Slot]:
    slices = machine.gpus[slot.gpu].slices
    return [slot] if slot.mig or not slices else [Slot(s, slot.gpu, mig=True) for s in slices]


def _by_index(mask: str, machine: Machine) -> list[Slot]:
    chosen: list[Slot] = []
    for entry in mask.split(","):
        number = re.match(r"\+?\d+", entry.strip())  # like strtoul: "1gpu" is 1
        if not number or int(number[0]) >= len(machine.gpus):
            break
        chosen.append(_whole(int(number[0]), machine))
    return chosen


def _by_uuid(mask: str, machine: Machine) -> list[Slot]:
    """UUIDs may be cut short as long as they mean one device."""
    kind = mask[:4]
    names = [Slot(gpu.uuid, i) for i, gpu in enumerate(machine.gpus)]
    if kind == "MIG-":
        names = [Slot(s, i, mig=True) for i, gpu in enumerate(machine.gpus) for s in gpu.slices]
    chosen: list[Slot] = []
    for entry in mask.split(","):
        matches = [slot for slot in names if slot.name.startswith(entry)]
        if not entry.startswith(kind) or len(matches) != 1:
            break
        chosen += matches
    return chosen


def _home(rank: int, local: int, slots: tuple[Slot, ...], machine: Machine, backend: str) -> Home:
    if machine.own_gpu and len(slots) == 1:
        return Home(rank, "cuda:0", None, backend)  # of each task its own: leave it be
    place = rank % local
    if rank == machine.rank and machine.local_rank is not None:
        place = machine.local_rank  # the launcher knows better, should it not fill in blocks
    place %= len(slots)
    slot = place if machine.hosts > 1 else None
    return Home(rank, "cuda:0", slots[place].name, backend, slot)


def visible_there(visible: str | None, slot: int | None, granted: str | None) -> str | None:
    """A rank's CUDA_VISIBLE_DEVICES, where its process was `granted` another one by its launcher:
    Slurm gives a job GPUs 2 and 3 of one node, and 0 and 1 of the next."""
    if visible is None or slot is None or not granted:
        return visible
    own = granted.split(",")
    return own[slot % len(own)]


def _nccl_obstacle(machine: Machine, slots: tuple[Slot, ...], local: int) -> str:
    """Why NCCL cannot serve `local` ranks on a host; empty when it can."""
    if not machine.nccl:
        return "this torch was built without NCCL"
    if any(slot.mig for slot in slots):
        # NCCL tells GPUs apart by their bus address, which all slices of a GPU share.
        return "NCCL does not work between MIG slices"
    own = machine.own_gpu and len(slots) == 1
    if local > len(slots) and not own:
        where = " on a host" if machine.hosts > 1 else ""
        have = _count(len(slots), "GPU")
        return f"NCCL needs one GPU a rank, there are {_count(local, 'rank')}{where} and {have}"
    return ""


# What the reader is told


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _gpu_reason(
    world_size: int,
    local: int,
    machine: Machine,
    slots: tuple[Slot, ...],
    chosen: str,
    obstacle: str,
    asked: str,
) -> str:
    hosts = f" on each of {machine.hosts} hosts" if machine.hosts > 1 else ""
    noun = "MIG slice" if any(slot.mig for slot in slots) else "GPU"
    own = machine.own_gpu and len(slots) == 1
    have = "a GPU for each task" if own else _count(len(slots), noun) + hosts
    start = f"{_count(world_size, 'rank')}, {have}"
    if chosen == "nccl":
        return f"{start}: NCCL, one GPU a rank"
    share = f"one {noun} a rank" if local <= len(slots) or own else f"shared {noun}s"
    why = "as asked" if asked == "gloo" else obstacle
    return f"{start}: Gloo with copies staged through the host, {share} ({why})"


def _cpu_reason(
    world_size: int, machine: Machine, device: str, slots: tuple[Slot, ...]
) -> tuple[str, str | None]:
    hosts = f" on each of {machine.hosts} hosts" if machine.hosts > 1 else ""
    start = f"{_count(world_size, 'rank')}, {_count(machine.cores, 'core')}{hosts}"
    if device == "cpu":
        return f"{start}: Gloo on the CPU (as asked)", None
    if not slots:
        return f"{start}: Gloo on the CPU ({_no_gpus(machine)})", None
    have = _count(len(slots), "GPU")
    warning = (
        f"This torch is a CPU build and cannot use the {have} of this machine, so training runs on "
        "the CPU: install a CUDA build of torch, or say device='cpu' if that is what you want."
    )
    return f"{start}, {have}: Gloo on the CPU (this torch is a CPU build)", warning


def _no_gpus(machine: Machine) -> str:
    if not machine.gpus:
        return "no GPU found"
    have = _count(len(machine.gpus), "GPU")
    return f"CUDA_VISIBLE_DEVICES={machine.mask!r} hides the {have} of this machine"


# Bad input


def _check_words(world_size: int, backend: str, device: str) -> None:
    if not isinstance(world_size, int) or isinstance(world_size, bool) or world_size < 1:
        raise ValueError(f"world_size={world_size!r} cannot be: give a whole number of at least 1.")
    if backend not in ("auto", "nccl", "gloo"):
        raise ValueError(f"Unknown backend {backend!r}: use 'auto', 'nccl' or 'gloo'.")
    if device not in ("auto", "cpu", "cuda"):
        advice = ", and choose GPUs by CUDA_VISIBLE_DEVICES" if "cuda" in str(device) else ""
        raise ValueError(f"Unknown device {device!r}: use 'auto', 'cpu' or 'cuda'{advice}.")


def _check_gpus(machine: Machine, backend: str, device: str, usable: int) -> None:
    if backend == "nccl" and device == "cpu":
        raise ValueError("NCCL moves data between GPUs: use backend='gloo' with device='cpu'.")
    if usable or (backend != "nccl" and device != "cuda"):
        return
    word = "backend='nccl'" if backend == "nccl" else "device='cuda'"
    build = "this torch is a CPU build: install a CUDA build"
    why = _no_gpus(machine) if not visible_slots(machine) else build
    raise ValueError(f"{word} needs GPUs, but {why}; or use backend='gloo' with device='cpu'.")


def too_many_beats(world_size: int, silence: float, machine: Machine) -> str | None:
    """A warning where the beats alone, of each to each, take more than half of the cores. (40 idle
    ranks on two cores: at 48 % of them all were well, at 80 % they took each other for dead.)"""
    local = math.ceil(world_size / machine.hosts)
    busy = BEAT * BEATS * local * world_size / silence
    if busy <= machine.cores / 2:
        return None
    enough = math.ceil(200 * busy / machine.cores * silence) / 100
    return (
        f"{_count(world_size, 'rank')} with silence={silence:g}: heartbeats alone take about "
        f"{busy:.1f} of {_count(machine.cores, 'core')}, and a rank that is well may be taken for "
        f"dead. Use silence={enough:g} or more, or fewer ranks."
    )


def largest_world(machine: Machine, on_gpu: bool = False) -> tuple[int, str]:
    """How many ranks one host holds, and the bound that says so."""
    need = CUDA_RANK if on_gpu else CPU_RANK
    memory = f"{machine.memory / 1e9:.1f} GB of memory available, {need // MB} MB a rank"
    processes = f"a limit of {machine.processes:.0f} processes and threads, {THREADS_A_RANK} a rank"
    files = f"a limit of {machine.open_files:.0f} open files, {FILES_A_PEER} for each peer"
    bounds = [
        (machine.memory / need, memory),
        (machine.processes / THREADS_A_RANK, processes),
        ((machine.open_files - FILES_ALONE) / FILES_A_PEER, files),
    ]
    most, why = min(bounds)
    return (2**31 if math.isinf(most) else max(0, int(most))), why


def _check_size(world_size: int, local: int, machine: Machine, on_gpu: bool) -> None:
    most, why = largest_world(machine, on_gpu)
    if local > most:
        host = " on each host" if machine.hosts > 1 else ""
        raise ValueError(
            f"world_size={world_size} is more than this machine can hold: at most "
            f"{_count(most, 'rank')}{host} ({why}); use fewer ranks."
        )
