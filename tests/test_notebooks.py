"""Notebooks as files: built from sources, run with other parameters, copied for learners."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from labkit import runs
from labkit.grading import exercise
from labkit.notebooks import NotebookError, build, desk, find, lab, run
from labkit.notebooks.source import digest, inputs, read, without_solutions
from labkit.views import progress

PARAMETERS = """\
# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False
"""

SAMPLE = f"""\
# %% [markdown]
# # A sample with $2(n-1)/n$

{PARAMETERS}
# %%
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
    raise NotImplementedError("exercise sample.1: twice as much")


# %%
try:
    print(double(world_size))
except NotImplementedError as missing:
    print(missing)

# %%
import asyncio

await asyncio.sleep(0)

# %% tags=["raises-exception"]
1 / 0

# %%
import ipywidgets
import matplotlib.pyplot as plt

plt.plot([world_size, 1]);

# %% tags=["nbval-ignore-output"]
ipywidgets.IntSlider(3)
"""

KERNEL = pytest.mark.slow  # starting a kernel takes seconds


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A folder for notebooks, with one source below it."""
    folder = tmp_path / "notebooks"
    write(folder, SAMPLE)
    return folder


def write(course: Path, text: str, name: str = "07_sample") -> Path:
    source = course / "src" / f"{name}.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    return source


def text_of(notebook: Any) -> str:
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


# -- solutions


def test_a_learner_gets_the_stub_in_place_of_the_solution(course: Path) -> None:
    source = course / "src/07_sample.py"
    learner = "\n".join(cell.source for cell in read(source).cells)
    assert "return 2 * x" not in learner
    assert "SOLUTION" not in learner
    assert '    raise NotImplementedError("exercise sample.1: twice as much")' in learner
    assert "return 2 * x" in "\n".join(cell.source for cell in read(source, solutions=True).cells)


def test_a_bug_that_is_to_be_found_stands_in_the_cell(course: Path) -> None:
    source = write(course, '# %% exercise="raft.2"\n')
    graded = exercise.read("raft.2")
    learner, solved = (read(source, solutions=each).cells[0].source for each in (False, True))
    assert learner == graded.mutated(graded.bug_of(0))
    assert solved == graded.reference
    before = digest(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exercise.Graded, "bug_of", lambda self, seed: self.given[0])
        assert digest(source) != before, "its outputs are of another bug"


def test_an_exercise_that_is_not_there_is_named(course: Path) -> None:
    source = write(course, '# %% exercise="no.1"\n')
    with pytest.raises(NotebookError, match=r"no exercise no\.1 to put there"):
        read(source)


STUB = 'raise NotImplementedError("exercise ring.1: a hint")'


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"def f():\n    ### BEGIN SOLUTION\n    return 1\n    {STUB}", "no END SOLUTION"),
        (f"### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n{STUB}", "in a function"),
        ("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", "stub"),
        (
            "def f():\n    ### BEGIN SOLUTION\n    ### END SOLUTION\n    raise NotImplementedError",
            "stub",
        ),
        (f"def f():\n    ### END SOLUTION\n    {STUB}", "in a function"),
        ("def f():\n    ### BEGIN SOLUTION\n    ### BEGIN SOLUTION", "inside a solution"),
    ],
)
def test_a_solution_that_cannot_be_taken_out_is_refused(code: str, words: str) -> None:
    with pytest.raises(NotebookError, match=words):
        without_solutions(code)


def test_a_cell_that_is_no_python_without_its_solution_is_refused(course: Path) -> None:
    source = write(course, "# %%\ndef f(:\n    pass\n")
    with pytest.raises(NotebookError, match="is no Python"):
        read(source)


# -- inputs


def test_the_same_source_gives_the_same_bytes(course: Path) -> None:
    source = course / "src/07_sample.py"
    assert nbformat.writes(read(source)) == nbformat.writes(read(source))


def test_ids_are_unique_and_a_new_cell_changes_no_other(course: Path) -> None:
    source = write(course, "# %%\na = 1\n\n# %%\nb = 1\n\n# %%\na = 1\n")
    a, b, again = [cell.id for cell in read(source).cells]
    assert len({a, b, again}) == 3
    source.write_text("# %%\na = 1\n\n# %%\nnew = 1\n\n# %%\nb = 1\n\n# %%\na = 1\n")
    after = [cell.id for cell in read(source).cells]
    assert [after[0], *after[2:]] == [a, b, again]


# -- building and checking


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, built once for the tests that only look at it. Its source."""
    course = tmp_path_factory.mktemp("course") / "notebooks"
    source = write(course, SAMPLE)
    assert build.build(source)
    return source


@pytest.fixture
def copied(built: Path, course: Path) -> Path:
    """The same, for the tests that damage it. The stored notebook."""
    path = course / "07_sample.ipynb"
    path.write_bytes(build.built_path(built).read_bytes())
    return path


@KERNEL
def test_a_built_notebook_is_executed_without_its_solutions(built: Path) -> None:
    notebook = nbformat.read(build.built_path(built), as_version=4)
    assert "exercise sample.1: twice as much" in text_of(notebook)
    assert build.problems(built) == []
    assert not build.build(built), "nothing changed, so nothing is to be done"


@KERNEL
def test_a_built_notebook_holds_no_widget_no_time_and_no_version(built: Path) -> None:
    text = build.built_path(built).read_text()
    assert "image/png" in text
    assert sys.version.split()[0] not in text
    for word in ("widget-view", "IntSlider(value", '"widgets"', "iopub", "codemirror"):
        assert word not in text


def edit_by_hand(notebook: Any) -> None:
    notebook.cells[2].source += "\nprint(1)"


def forget_to_execute(notebook: Any) -> None:
    notebook.cells[3].execution_count = None


def fail(notebook: Any) -> None:
    notebook.cells[3].outputs = [
        nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
    ]


def other_source(notebook: Any) -> None:
    notebook.metadata.labkit.source_sha256 = "0" * 64


def no_parameters(notebook: Any) -> None:
    notebook.cells[1].metadata.tags = []


@KERNEL
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit_by_hand, "edited by hand"),
        (forget_to_execute, "cell 3 has not been executed"),
        (fail, "cell 3 ended in an error"),
        (other_source, "another version"),
        (no_parameters, "tagged `parameters`"),
    ],
)
def test_a_stored_notebook_that_does_not_match_is_found(
    copied: Path, course: Path, damage: Any, words: str
) -> None:
    source = course / "src/07_sample.py"
    assert build.problems(source) == []
    notebook = nbformat.read(copied, as_version=4)
    damage(notebook)
    nbformat.write(notebook, copied)
    assert any(words in line for line in build.problems(source))


def test_of_a_panel_a_page_keeps_the_picture() -> None:
    shown = ({build.WIDGET: {}}, {"text/plain": ""}, {"image/png": "x"}, {"text/plain": "y"})
    outputs = [nbformat.v4.new_output("display_data", data) for data in shown]
    outputs.append(nbformat.v4.new_output("stream", text="z"))
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("panel", outputs=outputs)])
    build.drop_widgets(page)
    assert [dict(o.get("data", {})) for o in page.cells[0].outputs] == [*shown[2:], {}]


def test_a_source_without_notebook_and_a_notebook_without_source_are_found(course: Path) -> None:
    (course / "08_lost.ipynb").write_text("{}")
    assert "has not been built" in build.problems(course / "src/07_sample.py")[0]
    assert build.orphans(course) == ["08_lost.ipynb has no source"]


@KERNEL
def test_a_widget_that_nbval_would_stumble_over_is_not_stored(course: Path) -> None:
    source = write(course, SAMPLE.replace("nbval-ignore-output", "other"))
    with pytest.raises(NotebookError, match="cell 7 shows a widget"):
        build.build(source)


@KERNEL
def test_a_picture_that_is_too_large_is_not_stored(course: Path) -> None:
    noise = "import numpy, matplotlib.pyplot as plt\nplt.imshow(numpy.random.rand(400, 400));"
    source = write(course, f"{PARAMETERS}\n# %%\n{noise}\n")
    with pytest.raises(NotebookError, match=r"07_sample.*png of cell 1 is \d+ KB"):
        build.build(source)
    assert not build.built_path(source).exists()


def test_a_notebook_that_is_too_large_is_named() -> None:
    cell = nbformat.v4.new_code_cell(
        outputs=[nbformat.v4.new_output("stream", text="x" * 1_000_000)]
    )
    assert "the notebook is 1.0 MB" in next(build.too_large(nbformat.v4.new_notebook(cells=[cell])))


@KERNEL
def test_solutions_are_tried_and_not_stored(course: Path) -> None:
    asserting = SAMPLE.replace("print(double(world_size))", "assert double(4) == 8")
    asserting = asserting.replace("except NotImplementedError", "except ZeroDivisionError")
    source = write(course, asserting)
    build.try_solutions(source)
    assert not build.built_path(source).exists()
    source = write(course, asserting.replace("2 * x", "3 * x"))
    with pytest.raises(NotebookError, match="AssertionError"):
        build.try_solutions(source)


# -- running


def notebook(folder: Path, name: str, *cells: str) -> Path:
    source = write(folder, PARAMETERS + "".join(f"\n# %%\n{cell}\n" for cell in cells), name)
    path = build.built_path(source)
    nbformat.write(read(source), path)
    return path


@KERNEL
def test_all_notebooks_run_with_the_parameters_also_after_one_that_fails(tmp_path: Path) -> None:
    course, out = tmp_path / "notebooks", tmp_path / "runs" / "now"
    draw = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);\nprint('world', world_size, backend)"
    notebooks = [
        notebook(course, "01_fails", "raise ValueError('one\\ntwo')", "print('never')"),
        notebook(course, "02_leaves", "import sys; sys.exit(0)", "print('never')"),
        notebook(course, "03_draws", draw),
    ]
    said: list[str] = []
    fails, leaves, draws = run.run(
        notebooks, {"world_size": 8, "backend": "<nccl>"}, out, said.append
    )
    assert re.fullmatch(r"In \[\d\]: ValueError: one", fails.error), "the reason, once, in one line"
    assert leaves.error == "In [3]: SystemExit: 0", "papermill calls this a success"
    assert draws.passed
    assert draws.notebook is not None
    assert "world 8 <nccl>" in text_of(nbformat.read(draws.notebook, as_version=4))
    assert [line.split()[0] for line in said] == ["FAILED", "FAILED", "passed"]
    assert [path.read_bytes()[:4] for path in draws.pictures] == [b"\x89PNG"]
    page = (out / "index.html").read_text()
    assert "3 notebooks, 2 failed" in page
    assert "&lt;nccl&gt;" in page
    assert "//" not in page.replace("</", ""), "a page that needs nothing from elsewhere"
    for link in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert (out / link).is_file()
    assert draws.metrics == out / "03_draws.metrics.json"
    told = json.loads(draws.metrics.read_text())
    assert told["parameters"] == {"world_size": 8, "backend": "<nccl>"}
    assert {cell["status"] for cell in told["cells"]} == {"completed"}
    assert all(cell["seconds"] >= 0 for cell in told["cells"])


@KERNEL
def test_as_many_cells_run_as_the_progress_bar_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters have a cell of their own, which an execution puts in the place of its like; an
    empty cell is not executed."""
    bars: list[Any] = []

    def watched(**how: Any) -> Any:
        bars.append(progress.Progress(None, **how))
        return bars[-1]

    monkeypatch.setattr(progress, "progress", watched)
    path = notebook(tmp_path, "01_short", "print(world_size)", "", "raise ValueError")
    for parameters in ({}, {"seed": 3}):
        (first,) = run.run([path], parameters, tmp_path / "first")
        assert first.notebook is not None
        run.run([first.notebook], {"seed": 4}, tmp_path / "second")
    assert [(bar.n, bar.total) for bar in bars] == [(n, n) for n in (3, 4, 4, 4)]


@KERNEL
def test_ctrl_c_ends_all_and_leaves_a_page_of_what_was_done(tmp_path: Path) -> None:
    draws = notebook(tmp_path, "01_draws", "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    say = f"open({str(tmp_path / 'here')!r}, 'w').close()"
    endless = notebook(tmp_path, "02_endless", f"{say}\nimport time\nwhile True: time.sleep(1)")
    never = notebook(tmp_path, "03_never", "pass")
    command = [sys.executable, "-m", "labkit.cli", "run", *map(str, (draws, endless, never))]
    out = tmp_path / "out"
    # In a session of its own, as a terminal's: Ctrl-C goes to the kernel's parent alone.
    program = subprocess.Popen(
        [*command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "here").exists():
        assert program.poll() is None
        time.sleep(0.05)
    kernels = psutil.Process(program.pid).children(recursive=True)
    program.send_signal(signal.SIGINT)
    said, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "Traceback" not in errors
    assert [line.split()[:2] for line in said.splitlines()[:2]] == [
        ["passed", "01_draws"],
        ["FAILED", "02_endless"],
    ]
    assert f"What was done is in {out / 'index.html'}" in said
    page = (out / "index.html").read_text()
    assert "2 notebooks, 1 failed" in page
    assert "interrupted" in page
    assert (out / "02_endless.html").is_file()
    assert not psutil.wait_procs(kernels, timeout=10)[1]


@KERNEL
@pytest.mark.slow
def test_the_metrics_of_a_notebook_count_what_its_own_clusters_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "out/clusters"))
    use = """
from labkit import Cluster
from labkit.training import train
with Cluster(world_size, "gloo", "cpu") as cluster:
    cluster.kill(1)
    run = cluster.run(train, steps=7).wait()"""
    notebooks = [notebook(tmp_path, name, use) for name in ("01_one", "02_two")]
    outcomes = run.run(notebooks, {"world_size": 2}, tmp_path / "out", lambda text: None)
    for outcome in outcomes:
        assert outcome.passed, outcome.error
        assert outcome.metrics is not None
        (told,) = json.loads(outcome.metrics.read_text())["clusters"]
        folder = tmp_path / "out/clusters" / told.pop("folder")
        assert (folder / "events/driver.jsonl").is_file()
        assert told.pop("seconds") > 0
        kinds = {"views": 2, "faults": 1, "deaths": 1, "checkpoints": 0}
        assert told == {"members": 3, "steps": 7, **kinds}


def test_a_cell_that_never_ran_is_a_failure_too() -> None:
    cell = nbformat.v4.new_code_cell("print(1)", execution_count=1)
    cell.metadata["papermill"] = {"status": "completed"}
    never = nbformat.v4.new_code_cell("print(2)")
    never.metadata["papermill"] = {"status": "pending"}
    assert list(run.wrong(nbformat.v4.new_notebook(cells=[cell, never]))) == [
        "code cell 2 of 2 was not executed to its end (pending)"
    ]


@KERNEL
def test_an_error_that_is_meant_is_no_failure(course: Path, tmp_path: Path) -> None:
    source = course / "src/07_sample.py"
    nbformat.write(read(source), build.built_path(source))
    (outcome,) = run.run([build.built_path(source)], {}, tmp_path / "out")
    assert outcome.error == ""
    assert outcome.html is not None
    assert "An Exception was encountered" not in outcome.html.read_text()


def test_a_parameter_that_a_notebook_has_not_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    path = notebook(tmp_path / "notebooks", "01_one", "print(1)")
    with pytest.raises(NotebookError, match=r"01_one has no parameter 'wrld_size'; it has: world"):
        run.run([path], {"wrld_size": 8}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_of_a_page_lead_to_what_is_beside_its_notebook(tmp_path: Path) -> None:
    words = "[rank](glossary.md#rank), [up](../README.md), [net](https://x.org/a), [here](#here)"
    cells = [nbformat.v4.new_markdown_cell(words)]
    page = run.as_html(nbformat.v4.new_notebook(cells=cells), tmp_path)
    there = tmp_path.resolve().as_uri()
    for target in (
        f"{there}/glossary.md#rank",
        f"{there}/../README.md",
        "https://x.org/a",
        "#here",
    ):
        assert f'href="{target}"' in page


def test_values_on_the_command_line_keep_their_types() -> None:
    assert run.parse(["a=8", "b=True", "c=nccl", "d=1e-3", "e=x=y", "f=false"]) == {
        "a": 8, "b": True, "c": "nccl", "d": 1e-3, "e": "x=y", "f": False,
    }  # fmt: skip
    with pytest.raises(NotebookError, match="NAME=VALUE"):
        run.parse(["world_size"])


def test_notebooks_are_found_by_number_stem_and_path(tmp_path: Path) -> None:
    course = tmp_path / "notebooks"
    path = notebook(course, "02_ring", "print(1)")
    other = notebook(course, "03_other", "print(1)")
    for name in ("2", "02", "02_ring", str(path)):
        assert find([name], course) == [path]
    assert find([], course) == [path, other]
    with pytest.raises(NotebookError, match=r"no notebook '7'.*there are: 02_ring, 03_other"):
        find(["7"], course)


# -- the learner's desk


def store(course: Path, *cells: str, printed: str = "") -> None:
    course.mkdir(exist_ok=True)
    outputs = [nbformat.v4.new_output("stream", text=printed)] if printed else []
    made = [
        nbformat.v4.new_code_cell(cell, outputs=outputs, id=f"c{i}") for i, cell in enumerate(cells)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=made), course / "02_ring.ipynb")


def test_a_notebook_that_the_learner_only_ran_follows_the_repository(tmp_path: Path) -> None:
    course, table = tmp_path / "notebooks", tmp_path / "my-notebooks"
    store(course, "old")
    assert desk.lay_out(course, table) == []
    store(table, "old", printed="what it printed here")
    store(course, "new")
    assert desk.lay_out(course, table) == []
    assert (table / "02_ring.ipynb").read_bytes() == (course / "02_ring.ipynb").read_bytes()


def test_what_notebooks_link_to_comes_with_them(tmp_path: Path) -> None:
    course, table = tmp_path / "notebooks", tmp_path / "my-notebooks"
    store(course, "[rank](glossary.md#rank)")
    (course / "glossary.md").write_text("# Glossary")
    (course / "pictures").mkdir()
    (course / "pictures/timeline.png").write_bytes(b"PNG")
    desk.lay_out(course, table)
    assert (table / "glossary.md").read_text() == "# Glossary"
    assert (table / "pictures/timeline.png").read_bytes() == b"PNG"


def test_a_learners_work_is_never_overwritten(tmp_path: Path) -> None:
    course, table = tmp_path / "notebooks", tmp_path / "my-notebooks"
    store(course, "old")
    desk.lay_out(course, table)
    store(table, "my answer")
    assert desk.lay_out(course, table) == []
    store(course, "new")
    for _ in range(2):
        (sentence,) = desk.lay_out(course, table)
        assert "02_ring.ipynb holds your work" in sentence
        assert "my answer" in (table / "02_ring.ipynb").read_text()
    (table / "02_ring.ipynb").rename(table / "mine.ipynb")
    assert desk.lay_out(course, table) == []
    assert "new" in (table / "02_ring.ipynb").read_text()


def test_outputs_on_the_desk_survive_while_the_notebook_is_the_same(tmp_path: Path) -> None:
    course, table = tmp_path / "notebooks", tmp_path / "my-notebooks"
    store(course, "old")
    desk.lay_out(course, table)
    store(table, "old", printed="what it printed here")
    desk.lay_out(course, table)
    assert "what it printed here" in (table / "02_ring.ipynb").read_text()


# -- JupyterLab


def test_a_chosen_port_is_kept_and_nobody_is_let_in_without_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    first = lab.REPOSITORY / "my-notebooks/00_a.ipynb"
    free, chosen = lab.options(first, None), lab.options(first, 8123)
    assert "--port=0" in free
    assert {"--port=8123", "--ServerApp.port_retries=0"} <= set(chosen)
    assert not any(word in option for option in free for word in ("token", "password"))
    assert ("--allow-root" in free) == (os.geteuid() == 0)


def ask(address: str) -> bytes:
    """The server prints its address a moment before it listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError) or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


ELSEWHERE = "notebook:elsewhere.ipynb"


def leave_a_workspace(folder: Path) -> None:
    """As an earlier JupyterLab of this user would have left it."""
    folder.mkdir(parents=True)
    workspace = {"data": {ELSEWHERE: {}}, "metadata": {"id": "default"}}
    (folder / "default-37a8.jupyterlab-workspace").write_text(json.dumps(workspace))


@pytest.mark.slow
def test_a_headless_machine_gets_the_address_with_its_token(tmp_path: Path) -> None:
    """The real server, asked with and without the token that it printed."""
    away = {"DISPLAY", "WAYLAND_DISPLAY", "JUPYTER_TOKEN"}
    settings = {name: value for name, value in os.environ.items() if name not in away}
    settings["JUPYTER_CONFIG_DIR"] = str(tmp_path)
    leave_a_workspace(tmp_path / "lab/workspaces")
    code = "from labkit.notebooks import lab; from pathlib import Path; import os, sys; "
    code += "first = lab.REPOSITORY / 'my-notebooks/00_a.ipynb'; "
    code += (
        "os.execv(sys.executable, [sys.executable, '-m', 'jupyterlab', *lab.options(first, None)])"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code],
        env=settings | {"SSH_CONNECTION": "here"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    late = threading.Timer(60, server.kill)
    late.start()
    try:
        assert server.stdout is not None
        printed = ""
        for line in server.stdout:
            printed += line
            address = re.search(r"(http://127\.0\.0\.1:\d+)(/lab/tree/\S+)\?token=(\w+)", line)
            if address:
                break
        else:
            pytest.fail(f"no address in what the server printed:\n{printed}")
        host, path, token = address.groups()
        assert path == "/lab/tree/my-notebooks/00_a.ipynb"
        contents = json.loads(ask(f"{host}/api/contents?token={token}"))
        assert any(item["name"] == "Makefile" for item in contents["content"])
        workspaces = json.loads(ask(f"{host}/lab/api/workspaces?token={token}"))
        assert ELSEWHERE not in str(workspaces), "the user's tabs of another day"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(f"{host}/api/contents")
    finally:
        late.cancel()
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)


def test_jupyterlabs_layout_is_not_dropped_with_the_oldest_runs(tmp_path: Path) -> None:
    for name in (".jupyterlab", "an-older-run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("ten bytes.")
    assert [path.name for path in runs.prune(tmp_path, limit=5)] == ["an-older-run"]


def test_the_first_run_of_a_process_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_RUNS_LIMIT", "5")
    old, later = tmp_path / "an-older-run", tmp_path / "a-later-run"
    for place in (old, later):
        place.mkdir()
        (place / "file").write_text("ten bytes.")
        runs.new_run(tmp_path)

    assert not old.exists()
    assert later.exists()


# -- the command line


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom labkit.cli import app\napp(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'papermill', 'nbformat', 'jupytext', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "99"], "There is no notebook '99'"),
        (["notebooks", "build", "99"], "There is no notebook '99'"),
        (["run", "-p", "world_size"], "NAME=VALUE"),
        (["run", "-p", "world_size", "8", "-p", "seed=3", "99"], "There is no notebook '99'"),
        (["run", "02", "-p", "worlds", "8"], "has no parameter 'worlds'"),
        (["run", "02", "--out", __file__], "cannot be the folder of this run: File exists"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(arguments: list[str], words: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "labkit.cli", *arguments], capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert words in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_help_says_the_names_of_files_whole() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "labkit.cli", "notebooks", "--help"], capture_output=True, text=True
    )
    assert "notebooks/src/NN_*.py" in answer.stdout


def test_built_inputs_compare_equal_only_when_they_are(course: Path) -> None:
    source = course / "src/07_sample.py"
    one, two = read(source), read(source)
    assert inputs(one) == inputs(two)
    two.cells[3].metadata["tags"] = ["nbval-ignore-output"]
    assert inputs(one) != inputs(two)
