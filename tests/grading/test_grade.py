"""A class: reports, what happens after an interruption, and the exit status."""

import csv
import io
import json
import os
import stat
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from handed_in import notebook
from typer.testing import CliRunner

from labkit import check
from labkit.cli import app
from labkit.grading import exercise, report, score
from labkit.grading.grade import Bench, grade, read
from labkit.grading.jail import JailError
from labkit.grading.record import Record, Result, Verdict

COMMIT = exercise.read("commit.1")
TWICE = COMMIT.mutated(COMMIT.mutants["counts votes and not voters"])


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """Right, partial, unsolved, broken, and missing the exercise."""
    folder = tmp_path_factory.mktemp("class")
    for name, text in {
        "ada": notebook(COMMIT.reference),
        "bob": notebook(TWICE),
        "=cyd": notebook(COMMIT.skeleton),
        "dan": "{",
        "eve": notebook("print('nothing of hers is marked')"),
    }.items():
        (folder / f"{name}.ipynb").write_text(text)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def graded(handed_in, borrowed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grading")
    course, out = folder / "course.toml", folder / "out"
    course.write_text('exercises = ["commit.1"]')
    options = ["--out", str(out), "--course", str(course), "--seed", "5", "--jobs", "1"]
    result = CliRunner().invoke(app, ["grade", *map(str, handed_in), *options])
    return result, out, {path.stem: read(out / "records", path.stem) for path in written(out)}


def written(out):
    return sorted((out / "records").glob("*.json"))


def test_each_gets_the_points_of_the_properties_that_hold(graded):
    result, _, records = graded
    assert result.exit_code == 0, result.output
    assert {name: r.earned for name, r in records.items()} == {
        "_cyd": 0, "ada": 3, "bob": 2, "dan": 0, "eve": 0,
    }  # fmt: skip
    wrong = next(r for r in records["bob"].results if r.verdict is Verdict.FAIL)
    assert wrong.title == "a vote counts once, and a stranger's not at all"
    assert wrong.mistake == "counts votes and not voters"
    assert wrong.case in wrong.sentence
    assert records["dan"].problems == ["dan.ipynb: it is no notebook: its JSON is broken"]


def test_the_replay_shows_the_same_case_in_the_notebook(graded, capsys):
    _, _, records = graded
    wrong = next(r for r in records["bob"].results if r.verdict is Verdict.FAIL)
    assert wrong.replay == 'check("commit.1", decide, seed=5)'
    said = check.judge("commit.1", COMMIT.define(TWICE), seed=5).sentence
    assert wrong.case in said
    shown = CliRunner().invoke(app, ["replay", "5", "commit.1"]).output
    assert wrong.case in shown
    assert CliRunner().invoke(app, ["replay", "5", "no.1"]).exit_code == 2


def test_the_reports_agree(graded):
    _, out, records = graded
    rows = list(csv.DictReader(io.StringIO((out / "class.csv").read_text())))
    assert {row["submission"]: row["points"] for row in rows} == {
        "'=cyd": "0",
        "ada": "3",
        "bob": "2",
        "dan": "0",
        "eve": "0",
    }  # fmt: skip: a name as it is, but no formula
    assert {row["of"] for row in rows} == {"3"}
    suites = ElementTree.parse(out / "junit.xml").getroot()
    failures = {suite.get("name"): suite.get("failures") for suite in suites}
    assert failures == {"=cyd": "3", "ada": "0", "bob": "1", "dan": "3", "eve": "3"}
    scope = json.loads((out / "gradescope" / "bob.json").read_text())
    assert scope["score"] == 2 == sum(test["score"] for test in scope["tests"])
    summary = (out / "summary.md").read_text()
    assert "| commit.1 | a vote counts once, and a stranger's not at all | 1 | 4 | 0 | " in summary
    assert "counts votes and not voters (1×)" in summary
    assert records["ada"].jail in summary
    page = (out / "feedback" / "bob.html").read_text()
    assert "2 of 3 points" in page
    assert "http" not in page.replace('http-equiv="Content', "")
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o700  # made by labkit grade


def test_what_a_student_wrote_is_text_in_every_report():
    evil = "\x00\x1b]]></testcase>|[x](javascript:y)<script>\ud800=1"
    result = Result("commit.1", "p", 1, Verdict.ERROR, evil, "replay", case=evil, lines=[evil])
    record = Record("=evil", "", 1, "rlimit, seccomp", [result], [evil])
    suite = ElementTree.fromstring(report.junit([record]))
    assert suite.find(".//error").get("message").count("]]></testcase>") == 1
    assert "<script>" not in report.feedback(record)
    assert "<script>" not in report.classroom([record])
    assert report.table([record]).splitlines()[1].startswith("'=evil")
    line = next(x for x in report.summary([record]).splitlines() if x.startswith("| commit.1"))
    assert "[x](" not in line
    assert len(line.replace("\\|", "").split("|")) == 8


class NoZygote:
    """For tests that stand in for all that happens in a jail."""

    def __init__(self, level, slot=0):
        self.level = "rlimit"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        pass


def test_what_is_done_is_not_done_again(handed_in, tmp_path, monkeypatch):
    """After an interruption; a submission that has changed since is graded again."""
    judged = []

    def counting(zygote, exercises, cells, seed):
        judged.append(sorted(cells))
        if len(judged) == 3:
            raise KeyboardInterrupt
        return [score.blank(g, p, seed) for g in exercises for p in g.properties]

    monkeypatch.setattr(score, "score", counting)
    monkeypatch.setattr("labkit.grading.grade.Zygote", NoZygote)
    with pytest.raises(KeyboardInterrupt):
        grade(handed_in, tmp_path, jobs=1, say=str)
    assert len(judged) == 3
    seed = json.loads((tmp_path / "seed.json").read_text())["seed"]
    records = grade(handed_in, tmp_path, jobs=1, say=str)
    assert len(judged) == 6
    assert {record.seed for record in records} == {seed}
    handed_in[0].write_text(notebook(COMMIT.skeleton + "\n"))
    grade(handed_in, tmp_path, jobs=1, say=str)
    assert len(judged) == 7


def test_a_jail_that_breaks_is_the_graders_failure(tmp_path):
    class Broken:
        def jail(self, *arguments):
            raise JailError("no memory")

    found = score.judge(Broken, COMMIT, COMMIT.properties[0], COMMIT.reference, 0)
    assert (found.verdict, found.earned) == (Verdict.UNKNOWN, 0)


def test_a_check_that_breaks_is_the_graders_failure(best):
    def breaks(function, *arguments):
        raise ZeroDivisionError("in the check")

    from dataclasses import replace

    prop = replace(COMMIT.properties[0], run=breaks)
    found = score.judge(lambda: best, COMMIT, prop, COMMIT.reference, 0)
    assert found.verdict is Verdict.UNKNOWN
    assert "in the check" in found.sentence


def test_the_exit_status(handed_in, tmp_path, monkeypatch):
    def run(*words):
        path = next(path for path in handed_in if path.stem == "ada")
        return CliRunner().invoke(app, ["grade", str(path), "--out", str(tmp_path), *words])

    def verdict(of):
        def stand_in(zygote, exercises, cells, seed):
            results = [score.blank(g, p, seed) for g in exercises for p in g.properties]
            for result in results:
                result.verdict = of
            return results

        monkeypatch.setattr(score, "score", stand_in)

    monkeypatch.setattr("labkit.grading.grade.Zygote", NoZygote)
    verdict(Verdict.PASS)
    assert run("--seed", "1", "--pass-mark", "100").exit_code == 0
    verdict(Verdict.FAIL)
    assert run("--seed", "2").exit_code == 0
    assert run("--seed", "2", "--pass-mark", "1").exit_code == 1
    verdict(Verdict.UNKNOWN)
    assert run("--seed", "3").exit_code == 2
    nobody = CliRunner().invoke(app, ["grade", str(tmp_path / "no.ipynb"), "--out", str(tmp_path)])
    assert nobody.exit_code == 2


def test_a_zygote_that_dies_is_replaced(monkeypatch):
    class Mortal(NoZygote):
        def __init__(self, level, slot):
            self.process = SimpleNamespace(poll=lambda: None)

    monkeypatch.setattr("labkit.grading.grade.Zygote", Mortal)
    bench = Bench("rlimit", 0, None)
    first = bench()
    assert bench() is first
    first.process.poll = lambda: -9
    assert bench() is not first
