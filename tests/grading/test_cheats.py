"""Every cheat in tests/cheats earns what it may, harms nobody, and is over in time.

They are handed in as one class and graded side by side, at each level of jail that there is.
"""

import importlib.util
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import unprivileged
from handed_in import hurried, notebook

from labkit.grading import exercise
from labkit.grading.grade import grade, read
from labkit.grading.jail import JailError
from labkit.grading.record import Verdict
from labkit.grading.report import write_all

CHEATS = sorted(path.stem for path in (Path(__file__).parents[1] / "cheats").glob("*.py"))
SECONDS = 1.2
"""The right answer takes 0.05 s of them."""


def load(name):
    path = Path(__file__).parents[1] / "cheats" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"cheat_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stranger(threading.Thread):
    """Somebody whom nobody in a jail may reach."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.heard = []
        self.start()

    def run(self):
        while True:
            try:
                self.heard.append(self.sock.accept()[1])
            except OSError:
                return


def hand_in(folder, out, port):
    """A submission for each cheat; its path."""
    right = notebook(exercise.read("commit.1").reference)
    other = folder / "neighbour.ipynb"
    other.write_text(right)
    for path in (folder, *folder.parents[:3]):  # pytest's are closed: a class's may be open
        path.chmod(path.stat().st_mode | 0o055)
    facts = {
        "SOLUTION": exercise.EXERCISES / "commit_1" / "cell.py",
        "CHECKS": exercise.EXERCISES / "commit_1" / "checks.py",
        "TESTS": Path(__file__).parents[1],
        "OTHER": other,
        "OUT": out,
        "PORT": port,
        "GRADER": os.getpid(),
    }
    for name in CHEATS:
        cheat = load(name)
        if hasattr(cheat, "build"):
            yield cheat.build(folder, right)
            continue
        source = re.sub(r"\{([A-Z]+)\}", lambda found: str(facts[found[1]]), cheat.CELL)
        path = folder / f"{name}.ipynb"
        path.write_text(notebook(source))
        yield path


def grade_corpus(folder, out, port, level):
    """Hands them all in, and grades them with a short deadline each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exercise, "load", lambda name: hurried(name, SECONDS))
        patch.setenv("ANSWER", exercise.read("commit.1").reference)
        paths = list(hand_in(folder, out, port))
        records = grade(paths, out, seed=7, level=level, say=lambda text: None)
        write_all(records, out)


@pytest.fixture(
    scope="module",
    params=["auto", *(pytest.param(p, marks=pytest.mark.long) for p in ("rlimit", "unprivileged"))],
)
def graded(request, tmp_path_factory):
    """(level, records by name, seconds, the class's folder, who was reached). What a machine allows
    is tried by `make test`, the lesser levels by `make test-long`."""
    folder = tmp_path_factory.mktemp("class")
    out = tmp_path_factory.mktemp("out")
    stranger = Stranger()
    port = stranger.sock.getsockname()[1]
    begin = time.monotonic()
    try:
        if request.param == "unprivileged":
            ended = unprivileged.run(__file__, folder, out, port, timeout=300)
            assert ended.returncode == 0, ended.stderr
        else:
            grade_corpus(folder, out, port, request.param)
    except JailError as error:
        pytest.skip(str(error))
    finally:
        stranger.sock.close()
    seconds = time.monotonic() - begin
    records = [read(out / "records", path.stem) for path in (out / "records").glob("*.json")]
    level = records[0].jail.split(",")[0]
    return level, {r.name: r for r in records}, seconds, folder, out, stranger.heard


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_earns_what_it_may(graded, name):
    level, records, *_ = graded
    cheat, record = load(name), records[name]
    most = cheat.POINTS if isinstance(cheat.POINTS, int) else cheat.POINTS[level]
    assert record.earned <= most, [(r.title, r.sentence) for r in record.results]
    if isinstance(cheat.POINTS, int):
        assert record.earned == most, [(r.title, r.sentence) for r in record.results]
    verdicts = {r.verdict for r in record.results if "no cell" not in r.sentence}
    assert Verdict.UNKNOWN not in verdicts, [r.sentence for r in record.results]
    if record.earned == 0 and hasattr(cheat, "VERDICT"):
        assert cheat.VERDICT in verdicts, [(r.verdict, r.sentence) for r in record.results]


def test_each_is_over_within_its_deadline(graded):
    _, records, *_ = graded
    for record in records.values():
        for result in record.results:
            # the jail itself is made in 0.05 s, and in seconds beside a dozen busy processes
            assert result.seconds < SECONDS + 20, (record.name, result.title)


def test_nothing_is_left_and_nobody_was_harmed(graded):
    _, records, _, folder, out, heard = graded
    assert not heard, "somebody got out to the network"
    assert not [p for p in psutil.Process().children(recursive=True) if "grading" in str(p)]
    left = {p.name for p in Path("/tmp").glob("filled-by-a-cheat*")}
    assert not left
    assert not (out / "unpickled").exists()
    assert not Path("/tmp/escaped.ipynb").exists()
    assert not (folder.parent / "escaped.ipynb").exists()
    assert len(records) == len(CHEATS)


def test_pages_show_what_cheats_wrote_as_text(graded):
    *_, out, _ = graded
    page = (out / "feedback" / "printed_answers.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    page = (out / "feedback" / "claims_to_be_unsolved.html").read_text()
    assert "<b>" not in page


if __name__ == "__main__":  # as somebody else
    grade_corpus(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), "auto")
