"""SIGKILL of a real process at every named point of writing, committing and collecting garbage.

Fault cases 29 (in a shard's write), 30 (between the shard's rename and the manifest), 31 (after the
manifest, before `latest` and the collection), 40 (a deletion cut short).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_zygote import SAVES, state, store_in

Run = Callable[..., tuple[int, Any]]

CHECKPOINT = {"copy", "write", "fsync", "rename", "fsync_dir", "durable", "prepared", "commit"}
CHECKPOINT |= {"committed", "latest", "forget", "collect"}
DISK = {"write", "append", "fsync", "rename", "fsync_dir", "unlink"}


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """run(folder, point, count) → exit code, last durable step (or all visits without a point)."""
    zygote = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("crash_zygote.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert zygote.stdin is not None
    assert zygote.stdout is not None

    def ask(folder: Path, point: str | None = None, count: int = 1) -> tuple[int, Any]:
        print(json.dumps([str(folder), point, count]), file=zygote.stdin, flush=True)
        code, said = json.loads(zygote.stdout.readline())
        return code, said

    yield ask
    zygote.stdin.close()
    assert zygote.wait(timeout=60) == 0


@pytest.mark.case(29, 30, 31, 40)
@pytest.mark.parametrize(
    ("kind", "names"),
    [("checkpoint", CHECKPOINT), pytest.param("disk", DISK, marks=pytest.mark.long)],
)
def test_after_a_crash_anywhere_there_is_the_old_one_or_the_new_one(
    tmp_path: Path, run: Run, kind: str, names: set[str]
) -> None:
    code, visits = run(tmp_path / "clean")
    assert code == 0
    points = sorted(point for point in visits if point.startswith(kind))
    assert points == sorted(f"{kind}.{name}" for name in names), "every one is on the way"
    for point in points:
        for visit in range(1, visits[point] + 1):
            folder = tmp_path / f"{point}-{visit}"
            code, done = run(folder, point, visit)
            assert code == -signal.SIGKILL
            check(folder, done)


def check(folder: Path, done: int) -> None:
    """What is there is whole, is no older than what was reported, and can be gone on from."""
    loaded = store_in(folder).load()  # compares every checksum
    step = 0 if loaded is None else loaded.manifest.step
    assert step in (done, done + 1), folder.name
    if loaded is not None:
        assert repr(loaded.state) == repr(state(step)), f"{folder.name}: a mixture"
        assert loaded.remarks == [], "a crash leaves nothing that looks like a checkpoint"
    store = store_in(folder)
    made = store.save(state(SAVES + 1), SAVES + 1)
    assert [m.step for m in store.manifests()] == [SAVES + 1], "the remains are collected"
    left = {p.name for p in folder.iterdir()}
    assert left == {made.name, *(f.name for f in made.files), "latest", "lock"}, folder.name
    assert (folder / "latest").read_text() == made.name + "\n"
