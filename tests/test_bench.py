"""The benches measure, keep their deadlines, and leave nothing running."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from leftovers import shared_memory

from labkit.bench import (
    checkpoint,
    elastic,
    failover,
    launch,
    overhead,
    picture,
    recovery,
    report,
)
from labkit.bench.peers import program
from labkit.bench.peers.program import Program, marked, script
from labkit.bench.recovery import RANKS, Death, listen

FIELDS = {"name", "side", "unit", "n", "min", "median", "max", "load", "note", "at_least"}


OURS = "LABKIT_TEST_BENCH"


@pytest.fixture
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every process that a test starts inherits a word of its own; none may be there at its end,
    nor what they shared."""
    word = uuid.uuid4().hex
    monkeypatch.setenv(OURS, word)
    before = shared_memory()
    yield
    assert shared_memory() <= before
    left = []
    for process in psutil.process_iter():
        try:
            running = process.status() != psutil.STATUS_ZOMBIE
            if running and process.environ().get(OURS) == word:
                left.append(process.cmdline())
        except (psutil.Error, OSError):
            continue
    assert left == []


def check_rows(path: Path, names: set[str]) -> dict[str, dict]:
    rows = {row["name"]: row for row in json.loads(path.read_text())}
    assert set(rows) == names
    for row in rows.values():
        assert set(row) == FIELDS
        assert row["side"] == ("ours" if row["name"].startswith("lab, ") else "peer")
        assert row["unit"] in ("s", "%", "pt")
        assert row["n"] >= 1
        assert 0 < row["min"] <= row["median"] <= row["max"]
    return rows


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_launch(tmp_path: Path) -> None:
    table, plot = tmp_path / "rows.json", tmp_path / "plot.png"
    assert launch.main(table, plot, check=False, quick=True) == 0
    names = {launch.FIRST, launch.WARM, "multiprocessing, spawn", "torchrun --standalone"}
    names |= {f"multiprocessing, forkserver, {use}" for use in ("first use", "warm")}
    rows = check_rows(table, names)
    assert rows[launch.WARM]["max"] < 3.0, "ten times the aim"
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_recovery(tmp_path: Path) -> None:
    table, plot = tmp_path / "rows.json", tmp_path / "plot.png"
    assert recovery.main(table, plot, check=False, quick=True) == 0
    systems = {*recovery.LAB, "Open MPI ULFM", "torch.distributed alone"}
    names = {name + end for name in systems for end in (": out", ": goes on")}
    rows = check_rows(table, names | {elastic.NAMES[case] for case in elastic.QUICK})
    for aim in recovery.AIMS:
        assert aim.row not in rows or rows[aim.row]["max"] < 10 * aim.limit
    for name in systems:
        hangs = name == "torch.distributed alone"  # the rank opposite is never told
        assert rows[f"{name}: goes on"]["at_least"] == hangs
        assert rows[f"{name}: out"]["at_least"] == hangs
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_failover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(failover, "install", lambda package, where: "a test loads nothing")
    table, plot = tmp_path / "rows.json", tmp_path / "plot.png"
    assert failover.main(table, plot, check=False, quick=True) == 0
    ours = {failover.BY_TIMEOUT, failover.BY_CONNECTION, failover.OFF, failover.LATE}
    rows = check_rows(table, ours)
    assert rows[failover.BY_CONNECTION]["max"] < 3.0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_failover_theory() -> None:
    """facts: T(1 + 1/(s+1) - 1/4) + 2 latency + write, for a beat every T/2, T = 150 ms, s = 4."""
    assert failover.expected(0.001, 0.003, beat=1 / 2) == pytest.approx(0.1425 + 0.005)


# A program's deadline, and its end

FAMILY = """
import os, signal, subprocess, sys, time
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b'{"word": "child", "time": 0, "pid": %d}\\n' % os.getpid())
time.sleep(600)
"""


def test_a_silent_program_is_left_at_its_deadline() -> None:
    begin = time.monotonic()
    with Program(sys.executable, "-c", "import time; time.sleep(600)", seconds=1) as silent:
        words = silent.words()
        assert next(words)["word"] == "start"
        with pytest.raises(TimeoutError, match="no more by its deadline"):
            next(words)
    assert 1 <= time.monotonic() - begin < 30
    assert silent.process.poll() == -signal.SIGKILL


def test_leaving_ends_every_descendant(tmp_path: Path) -> None:
    """Also one in a session of its own, that ignores SIGTERM."""
    (tmp_path / "family.py").write_text(FAMILY)
    with Program(sys.executable, str(tmp_path / "family.py"), seconds=60) as family:
        child = next(word["pid"] for word in family.words() if word["word"] == "child")
        assert {process.pid for process in marked(family.mark)} == {family.process.pid, child}
    assert marked(family.mark) == []
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_program_that_fails_says_why() -> None:
    with Program(sys.executable, "-c", "raise OSError('no more ports')", seconds=60) as broken:
        assert [word["word"] for word in broken.words()] == ["start"]
        assert "no more ports" in broken.complaint()
    with pytest.raises(RuntimeError, match="no more ports"):
        launch.times(Program(sys.executable, "-c", "raise OSError('no more ports')", seconds=60), 2)


def test_a_program_ends_even_when_its_bench_is_killed() -> None:
    command = [sys.executable, "-IS", script("start"), "False", "1", "sleep", "600"]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == -signal.SIGALRM


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_alone_has_a_loopback_and_nothing_else() -> None:
    code = (
        "import json, socket; s = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(s.getsockname());"
        "print(json.dumps({'word': 'names', 'names': [n for _, n in socket.if_nameindex()]}))"
    )
    with Program(sys.executable, "-c", code, seconds=30, network=False) as alone:
        names = next(word["names"] for word in alone.words() if word["word"] == "names")
    if program.unshare():
        assert names == ["lo"]
        assert "unshare -n" in program.where()
    else:
        assert "not allowed" in program.where()


# What is heard after a death


def heard(*pairs: tuple[str, float]) -> Death:
    return listen(iter([{"word": w, "time": t} for w, t in pairs]), 10.0, RANKS - 1)


def test_the_last_survivor_counts() -> None:
    out = [("out", 10.01), ("out", 10.03), ("out", 10.02)]
    on = [("recovered", 10.05), ("recovered", 10.04), ("recovered", 10.07)]
    both = heard(*out, *on)
    assert (both.out, both.recovered) == (pytest.approx(0.03), pytest.approx(0.07))
    assert heard(*out, *on[:2]).recovered is None
    assert heard(*out[:2]).out is None


def test_a_late_end_is_a_lower_bound() -> None:
    row = recovery._row("torchrun, default: goes on", [None, 2.0, None], 15.0)
    assert (row.median, row.n, row.at_least, row.side) == (15.0, 3, True, "peer")
    assert row.note == "not within 15 s in 2 of 3"
    assert not recovery._row("x: out", [None, 2.0, 3.0], 15.0).at_least


# Rows


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [report.row("ring", "ours", "ms", [3.0, 1.0, 2.0]), report.row("x", "peer", "s", [1.0])]
    report.write(tmp_path / "rows.json", rows)
    assert report.read(tmp_path / "rows.json") == rows
    assert (rows[0].n, rows[0].min, rows[0].median, rows[0].max) == (3, 1.0, 2.0, 3.0)


def test_aims(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        report.row("fast", "ours", "s", [0.1, 0.2, 9.0]),
        report.row("ratio", "ours", "x", [0.9]),
        report.row("hung", "ours", "s", [0.01], at_least=True),
    ]
    assert report.misses(rows, [report.Aim("fast", "<", 0.3)]) == 0
    assert "met: fast < 0.3 s (median 0.2 s, 0.1 to 9, n=3)" in capsys.readouterr().out
    aims = [report.Aim("fast", "<", 0.2), report.Aim("ratio", ">=", 0.95)]
    assert report.misses(rows, [*aims, report.Aim("hung", "<", 1.0)]) == 3
    assert "MISSED: hung" in capsys.readouterr().out


def test_a_program_that_breaks_off_costs_its_own_pair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no row of the others. One that never comes to its end has no row, and misses its aim."""
    turns = iter(range(100))

    def seconds(stepper: overhead.Stepper) -> float:
        turn, name = next(turns), stepper.name
        if name == "step_lab" and ("cnn" in stepper.command or turn == 2):
            raise RuntimeError(f"{name} measured nothing; a false suspicion")
        return 1.1 if name == "step_lab" else 1.0

    monkeypatch.setattr(overhead.Stepper, "seconds", seconds)
    long, _, cnn = overhead.ALIKE
    rows, losses = overhead.measure(pairs=4, cases=[long, cnn])
    report.show(rows, losses)

    assert [(row.name, row.n) for row in rows] == [(long.lab, 3), (long.plain, 3), (long.more, 3)]
    assert rows[-1].median == pytest.approx(10.0)
    assert len(losses) == 1 + 4
    assert f"{long.name}, pair 2 of 4: step_lab measured nothing; a false" in losses[0]
    aims = [report.Aim(long.more, "<", 20.0), report.Aim(cnn.more, "<", 3.0)]
    assert report.misses(rows, aims) == 1
    said = capsys.readouterr()
    assert losses[0] in said.out
    assert losses[0] in said.err
    assert f"NOT MEASURED: {cnn.more} < 3" in said.out


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_the_cost_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both programs are started once for all pairs, and measure new ranks in each."""
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    started: list[str] = []
    whole = Program.__init__

    def count(program: Program, *command: str, **how: object) -> None:
        started.append(Path(command[1]).stem)
        whole(program, *command, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Program, "__init__", count)
    *_, cnn, zero = overhead.CASES  # the one in shared memory
    rows, losses = overhead.measure(pairs=2, silence=1.5, share=0.05, cases=[cnn, zero])

    assert losses == []
    names = [(case.lab, case.plain, case.more) for case in (cnn, zero)]
    assert [row.name for row in rows] == [name for of_case in names for name in of_case]
    assert {row.n for row in rows} == {2}
    assert all(0 < row.min <= row.max < 1.0 for row in rows if row.unit == "s")
    assert sorted(started) == 2 * ["step_lab"] + 2 * ["step_plain"]


def test_a_program_that_has_broken_off_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It breaks off whenever it is told to measure for the second time."""
    code = (
        "import json, sys\n"
        "for number, _ in enumerate(sys.stdin):\n"
        "    if number: sys.exit('a false suspicion')\n"
        "    print(json.dumps({'word': 'steps', 'time': 0, 'seconds': 0.5}), flush=True)\n"
    )
    stepper = overhead.Stepper("step_lab")
    monkeypatch.setattr(stepper, "command", (sys.executable, "-c", code))
    with contextlib.closing(stepper):
        for _ in range(2):
            assert stepper.seconds() == 0.5
            with pytest.raises(RuntimeError, match=r"measured nothing; .*a false suspicion"):
                stepper.seconds()


def test_show_prints_every_row_and_note(capsys: pytest.CaptureFixture[str]) -> None:
    report.show([report.row("ring", "ours", "s", [1.0], "a note", True)], ["taken at night"])
    printed = capsys.readouterr().out
    assert "ring" in printed
    assert ">=1" in printed
    assert "a note\ntaken at night" in printed


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0312, "s", "31 ms"),
        (0.0045, "s", "4.5 ms"),
        (0.25, "s", "250 ms"),
        (2.74, "s", "2.7 s"),
        (15.0, "s", "15 s"),
        (812.4, "MB", "812 MB"),
    ],
)
def test_amounts_are_said_as_a_person_would(value: float, unit: str, text: str) -> None:
    assert picture.amount(value, unit) == text


@pytest.mark.slow
def test_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    table, plot = tmp_path / "rows.json", tmp_path / "plot.png"
    assert checkpoint.main(table, plot, check=False, quick=True) == 0
    rows = {row["name"]: row for row in json.loads(table.read_text())}
    assert rows[checkpoint.STALL]["max"] < 10 * checkpoint.AIMS[0].limit
    assert {row["name"] for row in rows.values() if row["side"] == "ours"} >= {
        checkpoint.DURABLE,
        checkpoint.RATIO,
        checkpoint.BESIDE,
    }
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "runs").iterdir()) == []
