"""The grader in an unprivileged container: no root, no capability, no user namespaces."""

from handed_in import notebook
from unprivileged import run

from labkit.grading import exercise
from labkit.grading.grade import read

COMMIT = exercise.read("commit.1")
SELF = """# exercise: commit.1
import os


def decide(participants, votes, late):
    open("{path}").read()  # what the grader's user may read: that is what the report says
    for attempt in (lambda: open("{path}", "w"), lambda: os.kill(os.getppid(), 9), os.fork):
        try:
            attempt()
        except OSError:
            continue
        os._exit(9)
    return "wait"
"""


def grade(folder, *options):
    paths = sorted(folder.glob("*.ipynb"))
    words = ["grade", *paths, "--out", folder / "out", "--seed", "5", "--jobs", "1"]
    return run("-m", "labkit.cli", *words, *options)


def test_auto_falls_to_rlimit_and_every_report_says_so(tmp_path):
    course = tmp_path / "course.toml"
    course.write_text('exercises = ["commit.1"]')
    (tmp_path / "ada.ipynb").write_text(notebook(COMMIT.reference))
    (tmp_path / "eve.ipynb").write_text(notebook(SELF.format(path=course)))
    ended = grade(tmp_path, "--course", course)
    assert ended.returncode == 0, ended.stderr
    assert "jail: rlimit, seccomp; 2 of 2 submissions" in ended.stdout
    out = tmp_path / "out"
    records = {name: read(out / "records", name) for name in ("ada", "eve")}
    assert {name: record.earned for name, record in records.items()} == {"ada": 3, "eve": 0}
    assert {result.verdict for result in records["eve"].results} == {"FAIL"}
    assert course.read_text() == 'exercises = ["commit.1"]'
    for report in ("summary.md", "class.html", "feedback/eve.html", "gradescope/eve.json"):
        assert "jail: rlimit, seccomp" in (out / report).read_text(), report
    summary = (out / "summary.md").read_text()
    assert "read the lab's sources, with their solutions: not stopped" in summary


def test_namespaces_are_refused_with_a_sentence(tmp_path):
    (tmp_path / "ada.ipynb").write_text(notebook(COMMIT.reference))
    ended = grade(tmp_path, "--jail", "namespace")
    assert ended.returncode == 2
    assert ended.stderr.startswith("no jail of level namespace here: namespaces: ")
    assert "Run as root, allow unprivileged user namespaces, or say --jail rlimit" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out" / "records").iterdir())
