"""ckpt.1: several files and a pointer to them, on a disk whose power fails at every operation.

The bugs are those of real stores (T. Pillai et al., "All File Systems Are Not Created Equal", OSDI
2014, §4): a pointer that is durable before its data, or before their names.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.checks import Case
from labkit.grading.exercise import Property
from labkit.grading.ports import Port
from labkit.simulator.disk import PowerFailure, SimulatedDisk

Save = Callable[[Any, int, dict[str, bytes]], Any]
FAILURES = 25
"""At each operation, since each leaves another part of what was not synced."""
MOST = 40
"""Operations at which the power fails."""
VERBS = "write append fsync rename fsync_dir unlink list read"
AFTER = "after it all"


@dataclass(frozen=True)
class Job:
    """What a case is drawn from; its text stands in the check's sentence."""

    old: int
    new: int
    shards: dict[str, bytes]
    seed: int

    def __repr__(self) -> str:
        return f"{len(self.shards)} shards, step {self.new} after step {self.old}"

    def of(self, step: int) -> dict[str, bytes]:
        """The shards of a step: they differ from those of any other."""
        return {name: data + bytes([step]) for name, data in self.shards.items()}


class Found(dict[str, str]):
    """What is compared; for the picture, how often what was found after a failure at each place."""

    grid: dict[str, Counter[str]]


class Noted:
    """A disk, and what has been asked of it."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk, self.asked = disk, list[str]()

    def __getattr__(self, verb: str) -> Any:
        def ask(*arguments: Any) -> Any:
            if verb not in ("list", "read"):
                self.asked.append(verb)
            return getattr(self.disk, verb)(*arguments)

        return ask


def draw_job(r: random.Random) -> tuple[Job]:
    old = r.randrange(10, 50)
    names = [f"rank-{rank}" for rank in range(r.choice([2, 3]))]
    shards = {name: bytes(r.randrange(1, 256) for _ in range(40)) for name in names}
    return (Job(old, old + r.randrange(1, 40), shards, r.getrandbits(32)),)


def with_old(job: Job, seed: str) -> SimulatedDisk:
    """A disk on which the old checkpoint is safe."""
    disk = SimulatedDisk(seed)
    for name, data in (job.of(job.old) | {"LATEST": str(job.old).encode()}).items():
        file = name if name == "LATEST" else f"{job.old}-{name}"
        disk.write(file, data)
        disk.fsync(file)
    disk.fsync_dir()
    return disk


def attempt(save: Save, job: Job, fails_at: int, seed: str = "") -> tuple[str, list[str]]:
    """What is on the disk when the power is back, and what was asked of it; `fails_at` 0: it failed
    when the function had returned."""
    disk = with_old(job, seed)
    disk.fails_at = disk.operations + fails_at if fails_at else None
    noted = Noted(disk)
    with contextlib.suppress(PowerFailure):
        save(Port(noted, VERBS), job.new, job.of(job.new))
    disk.lose_power()
    return what_is_there(disk, job), noted.asked


def what_is_there(disk: SimulatedDisk, job: Job) -> str:
    named = disk.read("LATEST") if "LATEST" in disk.list() else b""
    steps = {str(step).encode(): step for step in (job.old, job.new)}
    if named not in steps:
        return "LATEST names nothing"
    step = steps[named]
    for name, data in job.of(step).items():
        if f"{step}-{name}" not in disk.list():
            return "a shard is missing"
        if disk.read(f"{step}-{name}") != data:
            return "a shard is torn"
    return "old" if step == job.old else "new"


def on_the_way(save: Save, job: Job) -> Found:
    """All that was found after a failure during an operation; and that it saves at all."""
    found = Found({"after a power failure": "", "without one": attempt(save, job, 0)[0]})
    found.grid = {}
    _, asked = attempt(save, job, 0)
    for number, verb in enumerate(asked[:MOST], 1):
        place = f"{verb} {asked[:number].count(verb)}".replace("_", " ")
        ends = [attempt(save, job, number, f"{job.seed}/{number}/{i}")[0] for i in range(FAILURES)]
        found.grid[place] = Counter(ends)
    everything = sorted({end for row in found.grid.values() for end in row})
    wrong = [end for end in everything if end not in ("old", "new")]
    found["after a power failure"] = "; ".join(wrong) or "old or new, and whole"
    return found


def afterwards(save: Save, job: Job) -> Found:
    """What is found after a power failure that came when the function had returned."""
    ends = Counter(attempt(save, job, 0, f"{job.seed}/{i}")[0] for i in range(FAILURES))
    found = Found({AFTER: " or ".join(sorted(ends))})
    found.grid = {AFTER: ends}
    return found


def grid(cases: Sequence[Case]) -> Any:
    """Of the first wrong case, else of the first: where the power failed, and what was found."""
    from labkit.views.checkpoints import crashes

    case = next((case for case in cases if case.got != case.expected), cases[0])
    row = {place: shown(ends) for place, ends in case.got.grid.items()}
    title = f"What LATEST names: {case.arguments[0]!r} (grey: old, green: new, orange: not whole)"
    return crashes({"The power fails during …": {"found": row}}, list(row), title)


def shown(ends: Counter[str]) -> Counter[str]:
    """In the picture's three words."""
    found: Counter[str] = Counter()
    for end, count in ends.items():
        found[end if end in ("old", "new") else "torn"] += count
    return found


PROPERTIES = [
    Property(
        "what LATEST names is whole, whenever the power fails",
        draw_job,
        on_the_way,
        cases=2,
        picture=grid,
    ),
    Property("what has been reported as saved stays", draw_job, afterwards, cases=2, picture=grid),
]
