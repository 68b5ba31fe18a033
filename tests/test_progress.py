"""Progress in a notebook, on a terminal and in a log; and the table of the ranks."""

import io
import sys
from types import SimpleNamespace

import pytest

from labkit.views import progress as room
from labkit.views.progress import Lines, progress, surroundings
from labkit.views.status import status_table


class Kernel:
    """Stands for IPython with a kernel that was, or was not, told that somebody answers."""

    def __init__(self, answers):
        self.shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=answers))

    def get_ipython(self):
        return self.shell


def test_who_is_watching(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert surroundings() == "log"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert surroundings() == "terminal"
    monkeypatch.setitem(sys.modules, "IPython", Kernel(answers=True))
    assert surroundings() == "notebook"
    monkeypatch.setitem(sys.modules, "IPython", Kernel(answers=False))
    assert surroundings() == "nobody"


def test_the_real_kernel_says_whether_somebody_answers():
    """The attribute that `surroundings` reads exists in the ipykernel that is installed."""
    kernelbase = pytest.importorskip("ipykernel.kernelbase")
    assert kernelbase.Kernel._allow_stdin is not None


def test_nothing_is_shown_where_nobody_watches(monkeypatch, capsys):
    monkeypatch.setattr(room, "surroundings", lambda: "nobody")
    assert list(progress(range(5), "reading")) == [0, 1, 2, 3, 4]
    with progress(total=3, description="x") as bar:
        bar.update(2)
        bar.set_description("y")
    assert (bar.n, capsys.readouterr()) == (2, ("", ""))


@pytest.mark.parametrize("reached", [2, 5])
def test_a_bar_on_a_terminal_is_gone_afterwards(monkeypatch, reached):
    """Also when the work ended early: a rank died, the run was cancelled."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(room, "surroundings", lambda: "terminal")
    with progress(total=5, description="training") as bar:
        bar.update(reached)
    assert "training" in screen.getvalue()
    assert "\n" not in screen.getvalue()
    assert not screen.getvalue().rsplit("\r", 2)[1].strip(), "the line is not wiped"


@pytest.mark.parametrize("reached", [2, 5])
def test_a_bar_in_a_notebook_is_gone_afterwards(monkeypatch, capsys, reached):
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(room, "surroundings", lambda: "notebook")
    with progress(total=5, description="training") as bar:
        container = bar._bar.container
        assert container.comm is not None
        bar.update(reached)
    assert container.comm is None


@pytest.mark.parametrize(
    ("steps", "seconds", "said"),
    [
        (100, 0.12, ["42 of 100 steps, 5 s", "84 of 100 steps, 10 s", "100 of 100 steps, 12 s"]),
        (2, 6.0, ["1 of 2 steps, 6 s", "2 of 2 steps, 12 s"]),  # the last line once
    ],
)
def test_a_log_gets_a_line_every_few_seconds(monkeypatch, steps, seconds, said):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(room.time, "monotonic", lambda: clock.now)
    file = io.StringIO()
    lines = Lines("training", steps, "step", file)
    for _ in range(steps):
        clock.now += seconds
        lines.update()
    lines.close()
    assert file.getvalue().splitlines() == [f"training: {line}" for line in said]


def test_a_log_says_nothing_about_what_is_quick(capsys, monkeypatch):
    monkeypatch.setattr(room, "surroundings", lambda: "log")
    assert sum(progress([1, 2, 3], "adding")) == 6
    assert capsys.readouterr() == ("", "")


def test_progress_can_go_back(monkeypatch):
    """Work that was thrown away is taken off again."""
    monkeypatch.setattr(room, "surroundings", lambda: "terminal")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress(total=10) as bar:
        bar.update(6)
        bar.update(-4)
        bar.update(1)
    assert bar.n == 3


def test_progress_through_nothing_is_refused():
    with pytest.raises(TypeError, match="total"):
        list(progress(total=3))


# ---- the table of the ranks --------------------------------------------------------------------

ROWS = [
    {
        "rank": 0,
        "state": "ready",
        "doing": "all-reduce",
        "step": 12,
        "memory_mb": 1231.4,
        "gpu": None,
    },
    {"rank": 1, "state": "SIGKILL", "doing": None, "step": 9, "memory_mb": None, "gpu": None},
]


def test_a_status_is_a_table_of_what_is_known():
    lines = str(status_table(ROWS)).splitlines()
    assert lines[0].split() == ["rank", "state", "doing", "step", "memory", "(PSS)"]
    assert lines[1].split("  ")[-1].strip() == "1\u2009231 MB"
    assert "● ready" in lines[1]
    assert "✕ SIGKILL" in lines[2]
    assert "gpu" not in lines[0]
    assert repr(status_table(ROWS)) == str(status_table(ROWS))


def test_a_status_has_no_colours_of_its_own():
    """Both themes of a notebook stay legible: paper and ink are the page's."""
    html = status_table(ROWS)._repr_html_()
    assert html.count("<tr>") == 3
    assert '<th scope="col"' in html
    assert "#" not in html
    assert "background:transparent;color:inherit" in html


def test_a_status_shows_markup_as_text():
    html = status_table([{"rank": 0, "state": "ready", "last_event": "<b>&"}])._repr_html_()
    assert "&lt;b&gt;&amp;" in html


def test_a_status_knows_gpus_when_there_are_some():
    table = str(status_table([{"rank": 0, "state": "ready", "gpu_percent": 87.3, "queue": 2}]))
    assert "87 %" in table
    assert "queue" in table


def test_no_ranks_make_an_empty_table():
    assert str(status_table([])) == ""
    assert "<table" in status_table([])._repr_html_()
