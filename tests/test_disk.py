"""The journal on a disk whose power fails at every point, on one that fails, and on a real one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from labkit.disk import Disk, DiskFailure, RealDisk
from labkit.protocols.effects import Splice, Stored, store
from labkit.protocols.journal import Journal, JournalDamaged, framed
from labkit.simulator.disk import PowerFailure, SimulatedDisk
from labkit.simulator.mutants import Mutant, applied


class Entry(Struct, frozen=True):
    term: int
    command: str | None


TYPES = {"log": Entry, "config": tuple[int, ...]}
GROWN = 200
"""Bytes: small, so that the journal is replaced in the middle of the work."""

WORK: list[dict[str, Any]] = [
    {"term": 1, "voted_for": 2},
    {"log": Splice(1, (Entry(1, "x=1"), Entry(1, "x=2"), Entry(1, None)))},
    {"term": 2, "voted_for": None},
    {"log": Splice(2, (Entry(2, "y" * 20),))},
    {"term": 2, "voted_for": 0},
    {"log": Splice(3, (Entry(2, "z" * 30), Entry(2, "z=3")))},
    {"config": (0, 1, 2)},
    {"log": Stored(3, [Entry(2, "z" * 30), Entry(2, "z=3")]), "snapshot": {"x": 1, "y": "y" * 20}},
    {"log": Splice(5, (Entry(2, "w" * 70),))},
    {"term": 3, "voted_for": 1},
    {"log": Splice(5, (Entry(3, "v=1"),))},
]


def states() -> list[dict[str, Any]]:
    """What is stored after each number of records."""
    stored: dict[str, Any] = {}
    after = [plain(stored)]
    for values in WORK:
        store(stored, values)
        after.append(plain(stored))
    return after


def plain(stored: dict[str, Any]) -> dict[str, Any]:
    return {k: (v.first, list(v.items)) if isinstance(v, Stored) else v for k, v in stored.items()}


STATES = states()


class Lost(AssertionError):
    """What had been reported as durable is not there, or something else is."""


class Node:
    """`done` records are known to be durable: each life must find them, or one more."""

    def __init__(self, disk: Disk, done: int) -> None:
        self.disk, self.done = disk, done

    def work(self) -> None:
        journal = Journal(self.disk, types=TYPES, grown=GROWN)
        found = plain(journal.stored)
        if found not in STATES[self.done : self.done + 2]:
            raise Lost(f"after {self.done} records it finds {found}")
        self.done += found != STATES[self.done]
        for values in WORK[self.done :]:
            journal.append(values)
            self.done += 1


def crash_everywhere(seeds: int = 12) -> int:
    """Every crash point of a life, then every one of a second life. Returns how many were tried."""
    tried = 0
    for seed in range(seeds):
        for first in range(1, 1000):
            if not crash_at(first, seed, 1000):
                break
            tried += 1
            second = 1
            while crash_at(first, seed, second):
                tried, second = tried + 1, second + 3
    return tried


def crash_at(first: int, seed: int, second: int) -> bool:
    """False when there were fewer operations than that."""
    disk = SimulatedDisk(f"{seed}/{first}/{second}", fails_at=first)
    node = Node(disk, 0)
    if not fails(node):
        return False
    disk.lose_power()
    disk.fails_at = disk.operations + second
    failed = fails(node)
    disk.lose_power()
    assert not fails(node)
    return failed or second == 1000


def fails(node: Node) -> bool:
    try:
        node.work()
    except PowerFailure:
        return True
    return False


# -- every crash point


def test_whatever_the_power_does_what_was_durable_is_found_again() -> None:
    assert crash_everywhere() > 3000


def test_a_file_that_has_grown_is_replaced_in_the_middle_of_the_work() -> None:
    disk = SimulatedDisk()
    Journal(disk, types=TYPES, grown=GROWN)
    start = disk.operations
    Node(disk, 0).work()
    assert disk.operations - start - 4 == 2 * len(WORK) + 2 * 4, "replaced twice"
    assert disk.list() == ["journal"]


# -- the simulated disk itself: a harness that loses too little proves nothing


def outcomes(act: Callable[[SimulatedDisk], object], seeds: int = 300) -> set[bytes | None]:
    """What may be found under the name "f" after a power failure."""
    found: set[bytes | None] = set()
    for seed in range(seeds):
        disk = SimulatedDisk(seed)
        act(disk)
        disk.lose_power()
        found.add(disk.read("f") if "f" in disk.list() else None)
    return found


def kept(disk: SimulatedDisk, name: str, data: bytes) -> None:
    disk.write(name, data)
    disk.fsync(name)
    disk.fsync_dir()


def test_what_is_not_synced_is_lost_or_torn_or_comes_in_another_order() -> None:
    def act(disk: SimulatedDisk) -> None:
        kept(disk, "f", b"")
        disk.append("f", b"a" * 32)
        disk.append("f", b"b" * 16)

    found = outcomes(act)
    assert {b"", b"a" * 16, b"a" * 32, b"a" * 32 + b"b" * 16} <= found
    assert bytes(32) + b"b" * 16 in found, "the second write without the first"
    assert b"a" * 16 + bytes(16) + b"b" * 16 in found


def test_an_overwritten_file_may_be_empty_or_a_mixture() -> None:
    def act(disk: SimulatedDisk) -> None:
        kept(disk, "f", b"o" * 32)
        disk.write("f", b"n" * 16)

    assert {b"o" * 32, b"", b"n" * 16, b"n" * 16 + b"o" * 16} == outcomes(act)


def test_a_synced_file_needs_its_name() -> None:
    def act(disk: SimulatedDisk) -> None:
        disk.write("f", b"x")
        disk.fsync("f")

    assert outcomes(act) == {None, b"x"}


def test_a_rename_is_whole_and_not_durable_at_once() -> None:
    def act(disk: SimulatedDisk) -> None:
        kept(disk, "f", b"old")
        kept(disk, "new", b"new")
        disk.rename("new", "f")

    assert outcomes(act) == {b"old", b"new"}
    assert outcomes(lambda disk: (act(disk), disk.fsync_dir())) == {b"new"}


# -- a disk that fails


def after_failed_fsync(seed: int) -> None:
    """The record of a failed fsync was not reported; a restarted process may still read it, and
    acts on it. Then it must outlive a power failure."""
    disk = SimulatedDisk(seed)
    journal = Journal(disk, types=TYPES)
    for values in WORK[:3]:
        journal.append(values)
    disk.fail_fsync = True
    with pytest.raises(DiskFailure, match="fsync failed"):
        journal.append(WORK[3])
    second = plain(Journal(disk, types=TYPES).stored)
    disk.lose_power()
    if plain(Journal(disk, types=TYPES).stored) != second:
        raise Lost("what the second life had read is not there in the third")


def test_what_a_life_has_read_is_durable_also_after_a_failed_fsync() -> None:
    for seed in range(20):
        after_failed_fsync(seed)


def test_a_failed_fsync_then_pretends_success_and_loses_the_data() -> None:
    """As Linux does: the simulated disk must, or retrying would look harmless."""
    disk = SimulatedDisk()
    disk.write("file", b"old")
    disk.fsync("file")
    disk.fsync_dir()
    disk.append("file", b" new")
    disk.fail_fsync = True
    with pytest.raises(DiskFailure):
        disk.fsync("file")
    disk.fsync("file")
    assert disk.read("file") == b"old new"
    disk.lose_power()
    assert disk.read("file") == b"old"


@pytest.mark.parametrize("when", range(len(WORK)))
def test_a_full_disk_stops_the_node_and_loses_nothing(when: int) -> None:
    for seed in range(10):
        disk = SimulatedDisk(seed)
        journal = Journal(disk, types=TYPES, grown=GROWN)
        for values in WORK[:when]:
            journal.append(values)
        disk.full = True
        with pytest.raises(DiskFailure, match="no space left"):
            journal.append(WORK[when])
        disk.lose_power()
        Node(disk, when).work()


def test_a_disk_that_lies_is_seen_by_the_next_crash() -> None:
    lost = 0
    for seed in range(20):
        disk = SimulatedDisk(seed)
        node = Node(disk, 0)
        disk.lying = True
        node.work()
        disk.lose_power()
        try:
            node.work()
        except (Lost, JournalDamaged):
            lost += 1
    assert lost > 10


def test_a_wiped_disk_is_an_empty_one() -> None:
    disk = SimulatedDisk()
    Node(disk, 0).work()
    disk.wipe()
    assert Journal(disk).stored == {}


# -- damage


def a_journal() -> tuple[SimulatedDisk, list[int]]:
    """A disk with a journal of five records, and where each of them ends."""
    disk = SimulatedDisk()
    journal = Journal(disk, types=TYPES)
    ends = [disk.size("journal")]
    for values in WORK[:4]:
        journal.append(values)
        ends.append(disk.size("journal"))
    return disk, ends


def test_damage_in_the_middle_is_reported_wherever_it_is() -> None:
    _, ends = a_journal()
    for at in range(ends[3]):
        disk, _ = a_journal()
        disk.corrupt("journal", at)
        with pytest.raises(JournalDamaged, match="must not vote again"):
            Journal(disk, types=TYPES)


def test_damage_in_the_last_record_is_a_torn_tail() -> None:
    _, ends = a_journal()
    for at in range(ends[3], ends[4]):
        disk, _ = a_journal()
        disk.corrupt("journal", at)
        assert plain(Journal(disk, types=TYPES).stored) == STATES[3]


def test_a_journal_cut_anywhere_is_read_up_to_its_last_whole_record() -> None:
    disk, ends = a_journal()
    data = disk.read("journal")
    for end in range(ends[0], len(data) + 1):
        disk.write("journal", data[:end])
        whole = sum(end >= mark for mark in ends[1:])
        assert plain(Journal(disk, types=TYPES).stored) == STATES[whole]


def test_a_journal_without_a_first_record_is_damaged() -> None:
    """It gets its name when that record is durable, so no crash leaves it empty."""
    for data in (b"", b"\0" * 40):
        disk = SimulatedDisk()
        disk.write("journal", data)
        with pytest.raises(JournalDamaged, match="first record is bad"):
            Journal(disk)


def test_a_record_that_is_out_of_turn_is_damage() -> None:
    disk = SimulatedDisk()
    disk.write("journal", framed(7, b"\x90") + framed(9, b"\x90"))
    with pytest.raises(JournalDamaged, match="record 9 follows record 7"):
        Journal(disk)


# -- mutants: each is a line that looks superfluous until the power fails

MUTANTS = [
    (
        "an append is not synced",
        "self.disk.fsync(self.name)\n",
        "pass\n",
        "crash",
    ),
    (
        "the new file is not synced before it gets the name",
        "self.disk.fsync(new)  #",
        "pass  #",
        "crash",
    ),
    (
        "the new name is not synced",
        "self.disk.fsync_dir()  #",
        "pass  #",
        "crash",
    ),
    (
        "the file is replaced in place",
        'new = self.name + ".new"',
        "new = self.name",
        "crash",
    ),
    (
        "the old file is removed before the new one has its name",
        "self.disk.rename(new, self.name)",
        "self.disk.unlink(self.name) if self.name in self.disk.list() else None; "
        "self.disk.rename(new, self.name)",
        "crash",
    ),
    (
        "the checksum is not looked at",
        "and check == _check(number, payload)",
        "",
        "crash",
    ),
    (
        "what is read at a start is not written again",
        "store(self.stored, first or {})\n        self.compact()",
        "store(self.stored, first or {})\n        self._size = self._folded = 0\n"
        "        if self._number == 0:\n            self.compact()",
        "fsync",
    ),
]
KILLERS: dict[str, Callable[[], object]] = {
    "crash": crash_everywhere,
    "fsync": test_what_a_life_has_read_is_durable_also_after_a_failed_fsync,
}


@pytest.mark.parametrize(("title", "old", "new", "killer"), MUTANTS, ids=[m[0] for m in MUTANTS])
def test_every_mutant_is_caught(title: str, old: str, new: str, killer: str) -> None:
    module = "labkit.protocols.journal"
    mutant = Mutant("p15", title, "", module, old, new, killer, scenario="")
    with applied(mutant), pytest.raises((Lost, JournalDamaged)):
        KILLERS[killer]()


# -- a real disk

LIFE = """
import sys
from labkit.disk import RealDisk
from labkit.protocols.journal import Journal
from labkit import faults
import os, signal
faults.arm((faults.At(faults.Kill(0), point=sys.argv[2], count=int(sys.argv[3])),),
           lambda fault: os.kill(os.getpid(), signal.SIGKILL))
journal = Journal(RealDisk(sys.argv[1]), grown=60)
for n in range(journal.stored.get("n", 0) + 1, 31):
    journal.append({"n": n})
    os.write(1, b"%d\\n" % n)
"""


@pytest.mark.parametrize(
    ("point", "count"), [("append", 5), ("fsync", 12), ("rename", 2), ("fsync_dir", 3)]
)
def test_sigkill_at_a_named_point_of_a_real_disk(tmp_path: Path, point: str, count: int) -> None:
    command = [sys.executable, "-c", LIFE, str(tmp_path), f"disk.{point}", str(count)]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == -9, first.stderr
    said = int(first.stdout.split()[-1]) if first.stdout else 0
    journal = Journal(RealDisk(tmp_path))
    assert said <= journal.stored.get("n", 0) <= said + 1
    assert os.listdir(tmp_path) == ["journal"]


def test_a_real_disk_does_what_the_simulated_one_does(tmp_path: Path) -> None:
    said = []
    for disk in (RealDisk(tmp_path), SimulatedDisk()):
        disk.write("a", b"one")
        disk.append("a", b" two")
        disk.append("b", b"three")
        disk.write("b", b"four")
        disk.fsync("b")
        disk.rename("a", "c")
        disk.append("c", b" more")
        disk.fsync_dir()
        disk.unlink("b")
        disk.fsync("c")
        with pytest.raises(FileNotFoundError):
            disk.read("a")
        with pytest.raises(FileNotFoundError):
            disk.unlink("b")
        said.append((disk.list(), disk.read("c"), disk.size("c")))
    assert said[0] == said[1] == (["c"], b"one two more", 12)


def test_a_failed_fsync_ends_the_use_of_a_real_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = RealDisk(tmp_path)
    disk.append("journal", b"x")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(DiskFailure, match=r"journal: fsync failed .*restart this node"):
        disk.fsync("journal")
    monkeypatch.undo()
    for act in (lambda: disk.fsync("journal"), lambda: disk.read("journal")):
        with pytest.raises(DiskFailure, match="not used any more in this life"):
            act()


def test_errors_of_a_real_disk_name_the_file_and_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk = RealDisk(tmp_path)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFailure, match=r"votes: write failed .*Free some space there"):
        disk.append("votes", b"x")


def test_a_closed_disk_holds_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    disk = RealDisk(tmp_path)
    for name in "abc":
        disk.append(name, b"x")
    disk.close()
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after == before


def test_values_come_back_as_their_types() -> None:
    disk = SimulatedDisk()
    Node(disk, 0).work()
    stored = Journal(disk, types=TYPES).stored
    assert stored["log"].items[-1] == Entry(3, "v=1")
    assert stored["config"] == (0, 1, 2)
    assert stored["voted_for"] == 1
    assert Journal(disk).stored["config"] == [0, 1, 2], "plain data without a type"


def test_a_folder_that_is_made_is_durable_with_all_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name stands in the folder above it, which has to be synced."""
    synced = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    RealDisk(tmp_path / "a" / "b").close()
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    RealDisk(tmp_path / "a" / "b").close()
    assert len(synced) == 2
    disk = RealDisk(tmp_path / "nowhere", make=False)
    assert disk.list() == []
    disk.close()
    assert not (tmp_path / "nowhere").exists()
