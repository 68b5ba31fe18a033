"""Grades a class: one record for each submission, kept as soon as it is made.

What was interrupted goes on where it stopped, since a record tells what it was made from. A
submission that cannot be read, and one that brings its jail down, is a record too.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from labkit.grading import score
from labkit.grading.collect import Submission, collect
from labkit.grading.course import Setting, library, on_roster
from labkit.grading.exercise import Graded
from labkit.grading.jail import Zygote
from labkit.grading.levels import describe
from labkit.grading.record import Record, file_name
from labkit.grading.together import together

DUMPABLE = 4  # linux/prctl.h


@dataclass(frozen=True)
class Grading:
    """What a class is graded with. `jobs` is how many submissions are judged side by side, and
    `seed` what is drawn from, unless each student has a variant."""

    out: Path
    seed: int
    jobs: int
    level: str
    setting: Setting
    chosen: Sequence[Graded]

    def digest(self, submission: Submission) -> str:
        """Of all that a record depends on."""
        seed = self.setting.seed_of(submission.name, self.seed)
        exercises = [graded.digest() for graded in self.chosen]
        parts = [submission.cells, submission.problems, exercises, seed, self.level]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def grade(
    paths: Sequence[Path],
    out: Path,
    seed: int | None = None,
    jobs: int = 2,
    level: str = "auto",
    say: Callable[[str], None] = print,
    setting: Setting | None = None,
) -> list[Record]:
    """The records of all submissions, in the order of their names; reports are another matter.

    Raises FileNotFoundError for a path with nothing at it, JailError where there is no jail of the
    level that is asked for.
    """
    setting = setting or Setting(library())
    handed_in = [collect(path, setting.known) for path in paths]
    submissions = named(on_roster(handed_in, setting.students))
    chosen = setting.chosen or assigned(setting.known, submissions)
    records = out / "records"
    out.mkdir(parents=True, exist_ok=True, mode=0o700)  # the students' points are in it
    records.mkdir(exist_ok=True, mode=0o700)
    seed = seed_of(out, seed)
    keep_to_itself()
    with Zygote(level) as first:
        plan = Grading(out, seed, jobs, first.level, setting, chosen)
        waiting: queue.SimpleQueue[Submission] = queue.SimpleQueue()
        for submission in submissions:
            if not is_done(records, submission.name, plan.digest(submission)):
                waiting.put(submission)
        left = waiting.qsize()
        seeds = "a seed for each student" if setting.secret else f"seed {seed}"
        say(
            f"{seeds}, jail: {describe(first.level)}; {left} of {len(submissions)} submissions "
            f"to grade, {len(chosen)} exercises"
        )
        work(plan, first, min(jobs, max(1, left)), waiting, say)
    return [read(records, submission.name) for submission in submissions]


def work(
    plan: Grading,
    first: Zygote,
    workers: int,
    waiting: queue.SimpleQueue[Submission],
    say: Callable[[str], None],
) -> None:
    """Empties the queue with so many threads, each with a zygote of its own."""
    failed = threading.Event()

    def run(slot: int) -> None:
        bench = Bench(plan.level, slot, first if slot == 0 else None)
        with contextlib.closing(bench), contextlib.suppress(queue.Empty):
            while not failed.is_set():
                record = one(plan, bench, waiting.get_nowait())
                if failed.is_set():  # and its jail with it, before it was judged
                    break
                write(plan.out / "records", record)
                say(f"{record.earned:3} of {record.points:3} points  {record.name}")

    together([partial(run, slot) for slot in range(workers)], failed.set)


class Bench:
    """One worker's zygote, made when it is needed and again when it is gone."""

    def __init__(self, level: str, slot: int, zygote: Zygote | None) -> None:
        self.level, self.slot = level, slot
        self.zygote = zygote

    def __call__(self) -> Zygote:
        if self.zygote is None or self.zygote.process.poll() is not None:
            self.close()
            self.zygote = Zygote(self.level, self.slot)
        return self.zygote

    def close(self) -> None:
        if self.zygote is not None:
            self.zygote.close()
            self.zygote = None


def one(plan: Grading, bench: Bench, submission: Submission) -> Record:
    begin = time.monotonic()
    seed = plan.setting.seed_of(submission.name, plan.seed)
    results = score.score(bench, plan.chosen, submission.cells, seed)
    return Record(
        submission.name,
        plan.digest(submission),
        seed,
        describe(plan.level),
        results,
        submission.problems,
        round(time.monotonic() - begin, 2),
        {graded.id: graded.about.title for graded in plan.chosen},
    )


def named(submissions: Sequence[Submission]) -> list[Submission]:
    """In order, each with a name that can be printed, and whose file is nobody else's."""
    taken: set[str] = set()
    for submission in submissions:
        plain = "".join(c if c.isprintable() else "_" for c in submission.name)
        name, count = plain, 1
        while file_name(name) in taken:
            count += 1
            name = f"{plain[:50]}-{count}"
        taken.add(file_name(name))
        submission.name = name
    return sorted(submissions, key=lambda submission: submission.name)


def assigned(known: Mapping[str, Graded], submissions: Sequence[Submission]) -> list[Graded]:
    """The exercises of all notebooks of which somebody has handed in a cell; all, if nobody has."""
    books = {known[name].about.notebook for s in submissions for name in s.cells}
    chosen = [graded for graded in known.values() if graded.about.notebook in books]
    return sorted(chosen or known.values(), key=lambda g: (g.about.notebook, g.id))


def seed_of(out: Path, seed: int | None) -> int:
    """The one that is asked for, else that of the grading which was begun here, else a new one,
    which no student can have known."""
    begun = out / "seed.json"
    if seed is None and begun.exists():
        seed = int(json.loads(begun.read_text())["seed"])
    if seed is None:
        seed = secrets.randbelow(10**9)
    begun.write_text(json.dumps({"seed": seed}) + "\n")
    return seed


def is_done(records: Path, name: str, digest: str) -> bool:
    """Whether this very record is there. One that the grader could not judge is made again."""
    try:
        record = read(records, name)
    except (OSError, msgspec.DecodeError):
        return False
    return record.digest == digest and all(r.verdict != "UNKNOWN" for r in record.results)


def read(records: Path, name: str) -> Record:
    return msgspec.json.decode((records / f"{file_name(name)}.json").read_bytes(), type=Record)


def write(records: Path, record: Record) -> None:
    """Whole or not at all."""
    temporary = records / f".{record.file}.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    temporary.replace(records / f"{record.file}.json")


def keep_to_itself() -> None:
    """No process of the same user reads this one's memory in /proc: where the jail has no
    namespaces, and the grader is not root, the answers are in there."""
    if sys.platform == "linux" and os.geteuid() != 0:
        ctypes.CDLL(None).prctl(DUMPABLE, 0, 0, 0, 0)
