"""Placement on forty machines, from laptops to two hosts of eight GPUs, and on bad input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest

from labkit.runtime import machine as facts
from labkit.runtime import placement
from labkit.runtime.machine import Machine, detect, parse_listing, read
from labkit.runtime.placement import Placement, largest_world, place, visible_there

A, B, C = "GPU-aaaa0000-01", "GPU-bbbb0000-02", "GPU-bbbb1111-03"


def listing(gpus: int, *slices: tuple[int, int]) -> str:
    """What `nvidia-smi -L` prints for `gpus` GPUs; (2, 3) cuts GPU 2 into three MIG slices."""
    cuts, lines = dict(slices), []
    for i in range(gpus):
        lines.append(f"GPU {i}: NVIDIA A100-SXM4-40GB (UUID: GPU-{i:04d}-x)")
        for j in range(cuts.get(i, 0)):
            lines.append(f"  MIG 1g.5gb      Device  {j}: (UUID: MIG-{i:04d}-{j})")
    return "\n".join(lines)


EIGHT, NAMED = listing(8), "\n".join(f"GPU {i}: T4 (UUID: {u})" for i, u in enumerate((A, B, C)))
CUT = listing(1, (0, 7))
OLD_MIG = "GPU 0: A100 (UUID: GPU-old)\n  MIG 3g.20gb Device 0: (UUID: MIG-GPU-old/1/0)"
BROKEN = listing(1) + "\nUnable to determine the device handle for GPU 0000:21:00.0: GPU is lost"
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
SLURM = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}
TASK = {**SLURM, "SLURM_NNODES": "2", "CUDA_VISIBLE_DEVICES": "0"}
ONE_A_TASK = {**TASK, "SLURM_GPUS_PER_TASK": "1"}
MPI = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "2"}
MPI_TWO = {**MPI, "OMPI_COMM_WORLD_SIZE": "16", "OMPI_COMM_WORLD_LOCAL_SIZE": "8"}
CYCLIC = {**MPI_TWO, "OMPI_COMM_WORLD_RANK": "5"}  # rank 5 is the third of its host


def mask(text: str) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": text}


def numbers(count: int, times: int = 1) -> list[str | None]:
    return [str(i) for i in range(count)] * times


# name: nvidia-smi's listing, environment, launcher, world size -> backend, on GPUs?, masks of ranks
MACHINES: dict[str, tuple[str, Mapping[str, str], str, int, str, list[str | None] | None]] = {
    "laptop": ("", {}, "local", 4, "gloo", None),
    "driver broken": (NO_DRIVER, {}, "local", 4, "gloo", None),
    "no GPU, but a mask": ("", mask("0,1"), "local", 2, "gloo", None),
    "one GPU, one rank": (listing(1), {}, "local", 1, "nccl", numbers(1)),
    "one GPU, four ranks": (listing(1), {}, "local", 4, "gloo", ["0"] * 4),
    "a lost GPU does not count": (BROKEN, {}, "local", 2, "gloo", ["0"] * 2),
    "2 GPUs, 2 ranks": (listing(2), {}, "local", 2, "nccl", numbers(2)),
    "2 GPUs, 5 ranks": (listing(2), {}, "local", 5, "gloo", ["0", "1", "0", "1", "0"]),
    "4 ranks on 8 GPUs": (EIGHT, {}, "local", 4, "nccl", numbers(4)),
    "8 ranks on 8 GPUs": (EIGHT, {}, "local", 8, "nccl", numbers(8)),
    "9 ranks on 8 GPUs": (EIGHT, {}, "local", 9, "gloo", [*numbers(8), "0"]),
    "half of the GPUs": (EIGHT, mask("4,5,6,7"), "local", 4, "nccl", ["4", "5", "6", "7"]),
    "order of the mask": (EIGHT, mask("7,2"), "local", 2, "nccl", ["7", "2"]),
    "spaces in the mask": (EIGHT, mask("3, 1"), "local", 2, "nccl", ["3", "1"]),
    "one of eight": (EIGHT, mask("3"), "local", 2, "gloo", ["3", "3"]),
    "empty mask": (EIGHT, mask(""), "local", 4, "gloo", None),
    "-1": (EIGHT, mask("-1"), "local", 4, "gloo", None),
    "NoDevFiles": (EIGHT, mask("NoDevFiles"), "local", 4, "gloo", None),
    "void": (EIGHT, mask("void"), "local", 4, "gloo", None),
    "list ends at -1": (EIGHT, mask("0,1,-1,2"), "local", 2, "nccl", numbers(2)),
    "list ends out of range": (listing(2), mask("1,2,0"), "local", 2, "gloo", ["1", "1"]),
    "out of range at once": (listing(2), mask("8"), "local", 2, "gloo", None),
    "comma at the end": (EIGHT, mask("0,1,"), "local", 2, "nccl", numbers(2)),
    "comma in front": (EIGHT, mask(",0,1"), "local", 2, "gloo", None),
    "a duplicate hides all": (EIGHT, mask("0,1,0"), "local", 2, "gloo", None),
    "strtoul reads 1gpu as 1": (EIGHT, mask("1gpu,02"), "local", 2, "nccl", ["1", "2"]),
    "UUID": (NAMED, mask(f"{C},{A}"), "local", 2, "nccl", [C, A]),
    "short UUID": (NAMED, mask("GPU-aa,GPU-bbbb1"), "local", 2, "nccl", [A, C]),
    "a space ends UUIDs": (NAMED, mask(f"{C}, {A}"), "local", 2, "gloo", [C, C]),
    "ambiguous UUID": (NAMED, mask("GPU-aa,GPU-bb"), "local", 2, "gloo", [A, A]),
    "unknown UUID": (NAMED, mask("GPU-ffff"), "local", 2, "gloo", None),
    "duplicate UUID": (NAMED, mask("GPU-aa,GPU-aaaa"), "local", 2, "gloo", None),
    "7 MIG slices": (CUT, {}, "local", 2, "gloo", ["MIG-0000-0", "MIG-0000-1"]),
    "a GPU number means its slices": (CUT, mask("0"), "local", 1, "gloo", ["MIG-0000-0"]),
    "MIG mask": (CUT, mask("MIG-0000-5"), "local", 2, "gloo", ["MIG-0000-5"] * 2),
    "MIG mask of old drivers": (
        OLD_MIG,
        mask("MIG-GPU-old/1/0"),
        "local",
        1,
        "gloo",
        ["MIG-GPU-old/1/0"],
    ),
    "MIG beside a whole GPU": (
        listing(2, (0, 1)),
        {},
        "local",
        2,
        "gloo",
        ["MIG-0000-0", "GPU-0001-x"],
    ),
    "MIG hidden, whole GPU left": (
        listing(2, (0, 2)),
        mask("GPU-0001"),
        "local",
        1,
        "nccl",
        ["GPU-0001-x"],
    ),
    "driver inside a task": (listing(1), ONE_A_TASK, "local", 4, "gloo", ["0"] * 4),
    "one visible GPU a task": (listing(1), ONE_A_TASK, "slurm", 8, "nccl", [None] * 8),
    "one GPU for all tasks": (listing(1), TASK, "slurm", 8, "gloo", ["0"] * 8),
    "step holds a GPU a task": (
        listing(1),
        {**TASK, "SLURM_STEP_GPUS": "0,1,2,3"},
        "slurm",
        8,
        "nccl",
        [None] * 8,
    ),
    "mpiexec, one host": (EIGHT, MPI, "mpi", 8, "nccl", numbers(8)),
    "two hosts of 8": (EIGHT, MPI_TWO, "mpi", 16, "nccl", numbers(8, 2)),
    "two hosts, ranks dealt in turn": (
        EIGHT,
        CYCLIC,
        "mpi",
        16,
        "nccl",
        [*numbers(5), "2", "6", "7", *numbers(8)],
    ),
    "two hosts, too many ranks": (listing(1), MPI_TWO, "mpi", 4, "gloo", ["0"] * 4),
    "two hosts without GPUs": ("", {"SLURM_NNODES": "2"}, "slurm", 4, "gloo", None),
}


def on(name: str) -> tuple[Machine, int]:
    text, environment, launcher, world_size, *_ = MACHINES[name]
    return read(text, environment, launcher, torch_cuda="12.8", cores=16), world_size


@pytest.mark.parametrize("name", MACHINES)
def test_machine(name: str) -> None:
    *_, backend, masks = MACHINES[name]
    machine, world_size = on(name)
    got = place(world_size, machine=machine)
    assert (got.backend, [home.visible for home in got.ranks]) == (
        backend,
        masks or [None] * world_size,
    ), got.reason
    assert {home.device for home in got.ranks} == {"cuda:0" if masks else "cpu"}
    assert [home.rank for home in got.ranks] == list(range(world_size))
    assert {home.backend for home in got.ranks} == {backend}
    assert got.staged == (masks is not None and backend == "gloo")
    assert got.warning is None
    assert got.reason.startswith(f"{world_size} rank")
    assert ("NCCL, one GPU a rank" in got.reason) == (backend == "nccl")


def test_on_another_host_a_rank_takes_its_own_of_what_was_granted_there() -> None:
    nodes = {**mask("2,3"), "SLURM_NNODES": "2"}
    machine = read(EIGHT, nodes, "slurm", torch_cuda="12.8")
    homes = place(4, machine=machine).ranks
    granted = ("2,3", "2,3", "0,1", "0,1")
    there = [visible_there(h.visible, h.slot, g) for h, g in zip(homes, granted, strict=True)]
    assert there == ["2", "3", "0", "1"]
    assert [visible_there(h.visible, h.slot, None) for h in homes] == ["2", "3", "2", "3"]
    alone = place(2, machine=read(EIGHT, mask("7,2"), torch_cuda="12.8")).ranks[1]
    assert visible_there(alone.visible, alone.slot, "7,2") == "2"
    assert visible_there(None, 1, "0,1") is None


def test_forty_machines() -> None:
    assert len(MACHINES) >= 40


def test_reason_reads_as_a_sentence() -> None:
    assert place(4, machine=on("4 ranks on 8 GPUs")[0]).reason == (
        "4 ranks, 8 GPUs: NCCL, one GPU a rank"
    )
    assert place(2, machine=on("one of eight")[0]).reason == (
        "2 ranks, 1 GPU: Gloo with copies staged through the host, shared GPUs "
        "(NCCL needs one GPU a rank, there are 2 ranks and 1 GPU)"
    )
    assert "hides the 8 GPUs" in place(1, machine=on("empty mask")[0]).reason


def shape(placement: Placement) -> tuple[str, str, bool]:
    return placement.backend, placement.ranks[0].device, placement.staged


def test_choices_of_the_user() -> None:
    machine = Machine(parse_listing(EIGHT), torch_cuda="12.8")
    assert shape(place(4, backend="gloo", machine=machine)) == ("gloo", "cuda:0", True)
    assert shape(place(4, device="cpu", machine=machine)) == ("gloo", "cpu", False)
    assert shape(place(4, "nccl", "cuda", machine=machine)) == ("nccl", "cuda:0", False)
    assert shape(place(9, device="cuda", machine=machine)) == ("gloo", "cuda:0", True)
    no_nccl = Machine(machine.gpus, torch_cuda="12.8", nccl=False)
    assert shape(place(4, machine=no_nccl)) == ("gloo", "cuda:0", True)


def test_a_cpu_build_beside_gpus_is_a_loud_warning() -> None:
    machine = Machine(parse_listing(EIGHT), torch_cuda=None)
    got = place(4, machine=machine)
    assert shape(got) == ("gloo", "cpu", False)
    assert got.warning is not None
    assert "CPU build" in got.warning
    assert "8 GPUs" in got.warning
    assert place(4, device="cpu", machine=machine).warning is None, "the user has asked for it"
    assert place(4, machine=Machine(machine.gpus, mask="")).warning is None, "GPUs are hidden"


def test_more_beats_than_the_cores_can_take_are_a_warning_with_what_would_do() -> None:
    two = Machine(cores=2)
    assert placement.too_many_beats(20, 0.15, two) is None
    told = placement.too_many_beats(60, 0.15, two)
    assert told is not None
    assert "60 ranks with silence=0.15: heartbeats alone take about 1.8 of 2 cores" in told
    assert "Use silence=0.28 or more" in told
    assert placement.too_many_beats(60, 0.28, two) is None
    assert placement.too_many_beats(60, 0.15, replace(two, hosts=2)) is None


EIGHT_GPUS = Machine(parse_listing(EIGHT), torch_cuda="12.8")
BARE = Machine(cores=2)
SMALL = Machine(cores=2, memory=600e6, processes=1e5, open_files=2e4)
FEW_TASKS = Machine(memory=64e9, processes=100, open_files=2e4)
FEW_FILES = Machine(memory=64e9, processes=1e5, open_files=256)


@pytest.mark.parametrize(
    ("arguments", "machine", "words"),
    [
        ((0,), BARE, ["world_size=0", "at least 1"]),
        ((-3,), BARE, ["world_size=-3"]),
        ((2.5,), BARE, ["world_size=2.5", "whole number"]),
        (("4",), BARE, ["world_size='4'"]),
        ((True,), BARE, ["world_size=True"]),
        ((11,), SMALL, ["at most 10 ranks", "0.6 GB of memory", "60 MB a rank", "fewer ranks"]),
        ((7,), FEW_TASKS, ["at most 6 ranks", "100 processes"]),
        ((25,), FEW_FILES, ["at most 24 ranks", "256 open files"]),
        ((4, "ncll"), BARE, ["'ncll'", "'auto', 'nccl' or 'gloo'"]),
        ((4, "mpi"), BARE, ["'mpi'"]),
        ((4, "nccl"), BARE, ["backend='nccl'", "no GPU found", "backend='gloo'"]),
        ((4, "nccl"), Machine(EIGHT_GPUS.gpus), ["CPU build", "install a CUDA build"]),
        ((4, "nccl"), Machine(EIGHT_GPUS.gpus, "", "12.8"), ["hides the 8 GPUs"]),
        ((4, "nccl", "cpu"), EIGHT_GPUS, ["device='cpu'", "backend='gloo'"]),
        ((9, "nccl"), EIGHT_GPUS, ["9 ranks and 8 GPUs", "backend='gloo'"]),
        ((2, "nccl"), Machine(parse_listing(CUT), None, "12.8"), ["MIG slices"]),
        ((2, "nccl"), Machine(EIGHT_GPUS.gpus, None, "12.8", False), ["without NCCL"]),
        ((4, "auto", "cuda"), BARE, ["device='cuda'", "no GPU found"]),
        ((4, "auto", "cuda"), Machine(EIGHT_GPUS.gpus), ["device='cuda'", "CPU build"]),
        ((4, "auto", "cuda:3"), EIGHT_GPUS, ["'cuda:3'", "CUDA_VISIBLE_DEVICES"]),
        ((4, "auto", "tpu"), BARE, ["Unknown device 'tpu'"]),
    ],
)
def test_bad_input_says_what_to_do(arguments: tuple, machine: Machine, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Za-z].*[^.]\.$") as error:
        place(*arguments, machine=machine)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert str(error.value).count(". ") == 0, "one sentence"


def test_the_bound_itself_is_allowed() -> None:
    most, why = largest_world(SMALL)
    assert "memory" in why
    assert len(place(most, machine=SMALL).ranks) == most
    # The bound holds for a host, not for the world.
    two = Machine(hosts=2, memory=SMALL.memory)
    assert len(place(2 * most, machine=two).ranks) == 2 * most
    with pytest.raises(ValueError, match="on each host"):
        place(2 * most + 1, machine=two)


def test_detect_on_this_machine_leaves_torch_and_cuda_alone() -> None:
    code = (
        "import sys; from labkit.runtime.placement import detect, place; m = detect();"
        "print(place(1, device='cpu', machine=m)); assert m.cores >= 1 and m.memory > 1e6;"
        "assert m.torch_cuda or 'torch' not in sys.modules;"
        "assert 'torch' not in sys.modules or not sys.modules['torch'].cuda.is_initialized()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 rank, ")


def test_torch_cuda_without_importing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delitem(sys.modules, "torch")
    assert facts._torch_cuda() == torch.version.cuda


FAKE_SMI = "#!/bin/sh\necho 'GPU 0: Fake (UUID: GPU-fake-1)'\n"


def test_detect_reads_nvidia_smi(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(FAKE_SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = detect()
    assert [gpu.uuid for gpu in found.gpus] == ["GPU-fake-1"]
    assert found.mask == "0"
    placement = place(2, machine=found)
    assert (placement.warning is None) == (found.torch_cuda is not None)


class FakeNvml:
    """Two GPUs, the first cut into two slices, in NVML's own calling convention."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count) -> int:
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle) -> int:
        handle._obj.value = 10 * (index.value + 1)
        return 0

    def nvmlDeviceGetUUID(self, handle, text, size: int) -> int:
        text.value = f"{'GPU' if handle.value % 10 == 0 else 'MIG'}-{handle.value}".encode()
        return 0

    def nvmlDeviceGetMaxMigDeviceCount(self, handle, count) -> int:
        if handle.value == 20:
            return 3  # NVML_ERROR_NOT_SUPPORTED, and the count is untouched
        count._obj.value = 7
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, index: int, part) -> int:
        part._obj.value = handle.value + index + 1
        return 0 if index < 2 else 6  # NVML_ERROR_NOT_FOUND


def test_nvml_gives_the_same_listing() -> None:
    gpus = parse_listing(facts._list_by_nvml(FakeNvml()))  # type: ignore[arg-type]
    assert [gpu.uuid for gpu in gpus] == ["GPU-10", "GPU-20"]
    assert [gpu.slices for gpu in gpus] == [("MIG-11", "MIG-12"), ()]
