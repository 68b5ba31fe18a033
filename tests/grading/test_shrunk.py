"""The fewest faults that show what is wrong: in a notebook, in a jail, in the reports."""

from dataclasses import replace

import pytest
from handed_in import notebook

from labkit import check
from labkit.grading import exercise, score
from labkit.grading.grade import grade
from labkit.grading.record import Verdict
from labkit.grading.report import write_all
from labkit.grading.shrunk import told
from labkit.simulator.shrink import violation

PLAYED = ("commit.4", "raft.2", "raft.6")
MUTANTS = [(name, mutant) for name in PLAYED for mutant in exercise.load(name).mutants]
WHAT_FAILS = {"writes nothing": "Restart(rank=2)", "votes again": "no fault at all"}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """What is left does not depend on how busy this machine is."""
    for place in ("labkit.grading.shrunk", "labkit.grading.score", "labkit.check"):
        monkeypatch.setattr(f"{place}.SECONDS", 60.0)


def mutated(name, mutant):
    graded = exercise.load(name)
    return graded.mutated(graded.mutants[mutant])


def found(name, source):
    return check.judge(name, exercise.load(name).define(source)).finding


@pytest.mark.parametrize(("name", "mutant"), MUTANTS)
def test_what_is_left_breaks_the_mutant_and_not_the_solution(name, mutant):
    """Else the schedule would show what nobody withstands, and not what is wrong."""
    graded = exercise.load(name)
    finding = found(name, graded.mutated(graded.mutants[mutant]))
    prop = next(p for p in graded.properties if p.title == graded.mutants[mutant].killed_by)
    assert len(finding.schedule.plan) <= min(1, len(finding.found_with.plan))
    assert len(told(finding)) <= 11
    for arguments in score.draws(graded, prop, 0):
        scenario, _ = prop.trial(graded.define(graded.reference), *arguments)
        assert violation(scenario, finding.schedule) is None


def test_what_is_left_may_be_more_than_one_fault():
    """Whoever promises only in memory is found out by a crash, and not without one."""
    finding = found("commit.4", exercise.load("commit.4").skeleton)
    assert finding.kinds == "CrashAt(rank=2, effects=1)"
    assert finding.found_with.plan[1:]


def test_the_notebook_tells_and_draws_it(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    wrong = exercise.load("raft.2").define(mutated("raft.2", "writes nothing"))
    check.check("raft.2", wrong)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == ("In the simulator it takes 1 of the 2 faults: Restart(rank=2) at 1.2 s.")
    assert lines[-1].startswith("Then R-S1 (one leader in a term) breaks: rank 2 has made rank")
    (figure,) = shown
    texts = "".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "restart" in texts.lower()


def test_a_rule_is_shown_in_the_protocol_that_it_belongs_to():
    finding = found("raft.3", mutated("raft.3", "votes again"))
    assert "leads term" in finding.what
    assert found("raft.3", mutated("raft.3", "keeps the old vote")).name == "R-L1"
    assert found("raft.3", mutated("raft.3", "votes for the past")) is None  # it does no harm
    majority = found("commit.1", mutated("commit.1", "commits with a majority"))
    assert (majority.name, majority.kinds) == ("P-S2", "Kill(rank=2)")
    twice = found("commit.1", mutated("commit.1", "counts votes and not voters"))
    assert told(twice)[0].endswith("no fault at all. Messages are repeated now and then.")


@pytest.mark.parametrize("name", ["raft.3", "commit.1"])
def test_with_the_solution_the_protocol_withstands(name):
    graded = exercise.load(name)
    scenario, schedules = graded.properties[0].trial(graded.define(graded.reference))
    assert [violation(scenario, schedule) for schedule in schedules.values()] == [None] * 40


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        *(("raft.2", mutant) for mutant in WHAT_FAILS),
        ("raft.6", "writes nothing"),
        ("commit.4", "answers without looking"),
        ("raft.3", "votes again"),
        ("commit.1", "takes silence for yes"),
    ],
)
def test_the_grader_finds_the_same_in_its_jails(zygote, name, mutant):
    graded = exercise.load(name)
    prop = next(p for p in graded.properties if p.title == graded.mutants[mutant].killed_by)
    result = score.judge(lambda: zygote, graded, prop, mutated(name, mutant), 0)
    assert result.verdict is Verdict.FAIL
    finding = found(name, mutated(name, mutant))
    assert (result.faults, result.lines) == (finding.kinds, told(finding))
    assert result.faults == WHAT_FAILS.get(mutant, result.faults)
    assert result.picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("trouble", [OSError, KeyError, SystemExit])
def test_trouble_with_the_picture_changes_no_verdict(best, trouble):
    graded = exercise.load("raft.2")

    def trial(function, *arguments):
        raise trouble("while it is searched")

    prop = replace(graded.properties[0], trial=trial)
    source = mutated("raft.2", "votes again")
    result = score.judge(lambda: best, graded, prop, source, 0)
    assert (result.verdict, result.faults, result.lines) == (Verdict.FAIL, "", [])
    assert "should be 'all is well'" in result.sentence


def test_a_class_report_tells_the_schedule_that_most_failed(tmp_path, borrowed):
    (tmp_path / "course.toml").write_text('exercises = ["raft.2"]')
    for student, source in {
        "ada": exercise.load("raft.2").reference,
        "bob": mutated("raft.2", "writes nothing"),
        "cyd": mutated("raft.2", "writes only the term"),
        "dan": mutated("raft.2", "votes again"),
        "eve": exercise.load("raft.2").skeleton,
    }.items():
        (tmp_path / f"{student}.ipynb").write_text(notebook(source))
    paths = sorted(tmp_path.glob("*.ipynb"))
    records = grade(paths, tmp_path / "out", seed=0, jobs=1, say=lambda text: None)
    write_all(records, tmp_path / "out")
    titles = [p.title for p in exercise.load("raft.2").properties]
    page = (tmp_path / "out" / "class.html").read_text()
    first = page.split(titles[1])[0]
    assert "that 2 of them failed: <code>Restart(rank=2)</code>" in first
    assert "rank 2 crashes and loses what is not on its disk" in first
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert "The schedule that most failed, 2 of 5: Restart\\(rank=2\\), in raft.2" in summary
    own = (tmp_path / "out" / "feedback" / "eve.html").read_text()
    assert "In the simulator it takes 1 of the 2 faults: CrashAt(rank=2, effects=1)" in own
    assert "Then R-S1 (one leader in a term) breaks" in own
    assert (tmp_path / "out" / "junit.xml").read_text().count("In the simulator it takes") >= 4
