"""A class of 150 that is interrupted twice, once as by Ctrl-C and once by SIGKILL, and goes on."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
from classroom import SEED, make
from handed_in import notebook

from labkit.grading import exercise
from labkit.grading.grade import read

SLEEPS = "# exercise: commit.4\nimport time\n\ntime.sleep(600)"
"""Its deadline is the longest of all, 20 s: nobody is late before the signal comes."""


class Grader:
    """`labkit grade` in a process of its own; `said` are the submissions that it has told."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "out"
        handed_in = sorted((folder / "handed-in").iterdir())
        words = ["grade", *handed_in, "--out", self.out, "--course", folder / "course.toml"]
        self.command = [sys.executable, "-u", "-m", "labkit.cli", *map(str, words)]
        self.command += ["--seed", str(SEED)]
        self.said = Counter()
        self.lives = 0

    def records(self):
        return {path.stem: path.read_bytes() for path in self.out.glob("records/[!.]*.json")}

    def run(self, until=None, by=None):
        """To its end, or until that many records are there and a jail stands; then it gets the
        signal `by`. Its exit status, and what it has printed."""
        printed = self.folder / f"printed-{self.lives}.txt"
        self.lives += 1
        with printed.open("w") as file:
            # Tests that a shell runs in the background were started with SIGINT ignored.
            process = subprocess.Popen(
                self.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        try:
            if until is not None:
                mother = psutil.Process(process.pid)
                wait_for(lambda: len(self.records()) >= until and len(below(mother)) >= 3)
                family = below(mother)
                process.send_signal(by)
                process.wait(timeout=30)
                _, alive = psutil.wait_procs(family, timeout=30)
                assert not alive, "a jail has outlived its grader"
            process.wait(timeout=600)
        finally:
            process.kill()
            process.wait()
        text = printed.read_text()
        self.said.update(re.findall(r"^ *\d+ of +\d+ points  (.+)$", text, re.MULTILINE))
        return process.returncode, text


def below(process):
    """The zygote, and of a jail the jailer and its ranks."""
    return process.children(recursive=True)


def wait_for(true, seconds=300):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


@pytest.mark.long
def test_a_class_of_150_goes_on_after_each_interruption(tmp_path):
    points = make(tmp_path, sections=5)
    assert len(points) == 150
    grader = Grader(tmp_path)
    known = {}
    for until, by in ((30, signal.SIGINT), (90, signal.SIGKILL)):
        status, text = grader.run(until, by)
        assert status == (-by if by == signal.SIGKILL else 128 + by), text
        assert known.items() <= grader.records().items()
        known = grader.records()
        assert until <= len(known) < 150
    status, text = grader.run()
    assert status == 0, text
    assert f"; {150 - len(known)} of 150 submissions to grade" in text
    after = grader.records()
    assert known.items() <= after.items()
    # A record that was written as the grader was killed may not have been told.
    assert max(grader.said.values()) == 1
    assert set(after) - set(grader.said) <= set(known)
    rows = csv.DictReader(io.StringIO((grader.out / "class.csv").read_text()))
    assert {row["submission"]: int(row["points"]) for row in rows} == points
    status, text = grader.run()
    assert status == 0
    assert "; 0 of 150 submissions to grade" in text
    assert grader.records() == after


def test_what_is_interrupted_while_it_is_judged_is_judged_anew(tmp_path):
    """Ctrl-C ends the jail in which an answer runs: that is nobody's mistake and no record."""
    handed_in = tmp_path / "handed-in"
    handed_in.mkdir()
    why = exercise.load("why.1")
    (handed_in / "a.ipynb").write_text(notebook(why.reference))
    (handed_in / "b.ipynb").write_text(notebook(SLEEPS))
    (tmp_path / "course.toml").write_text('exercises = ["why.1", "commit.4"]')
    grader = Grader(tmp_path)
    grader.command += ["--jobs", "1"]
    status, text = grader.run(until=1, by=signal.SIGINT)
    assert status == 130, text
    assert "Traceback" not in text
    assert "the same command goes on with what is left" in text
    assert set(grader.records()) == {"a"}
    (handed_in / "b.ipynb").write_text(notebook(why.reference))
    status, text = grader.run()
    assert status == 0, text
    assert "; 1 of 2 submissions to grade" in text
    assert read(grader.out / "records", "b").earned == why.points
    assert json.loads((grader.out / "seed.json").read_text()) == {"seed": SEED}
