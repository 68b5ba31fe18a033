"""The in-notebook check: right, wrong, unsolved, raising, waiting answers; never an exception."""

import contextlib
import io
import sys
import time

import numpy as np
import pytest
import torch

from labkit.check import MOST, SENTENCE, check, difference, hint, judge, text
from labkit.checks import Case, Exercise, parts
from labkit.views.check import expected_beside_got


def unsolved(*_):
    raise NotImplementedError("exercise why.1: say how long")


@pytest.fixture
def exercise(monkeypatch):
    """The exercise "made.1" (double a number) with a deadline of half a second."""
    made = Exercise(lambda x: 2 * x, lambda r: (r.uniform(1, 9),), seconds=0.5)
    known = {"made.1": [made]}
    monkeypatch.setattr("labkit.check.parts", lambda name: known.get(name) or parts(name))
    return made


def said(name, function):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        check(name, function)
    return output.getvalue().strip()


def test_right(exercise):
    assert said("made.1", lambda x: x + x).startswith("made.1 is right: 6 of 6 cases agree.")


def test_a_wrong_answer_is_told_with_its_arguments(exercise):
    def double(number):
        return number

    first = judge("made.1", double)
    assert first.sentence.startswith("made.1: double(number=")
    assert "should be" in first.sentence
    assert len(first.cases) == 6
    assert judge("made.1", double).sentence == first.sentence  # drawn from a seed


def test_unsolved_is_no_failure(exercise):
    assert said("made.1", unsolved) == "made.1: not done yet."


@pytest.mark.parametrize("answer", [None, 3, lambda: 1, lambda x: 1 / 0, lambda x: sys.exit()])
def test_what_raises_is_reported_and_not_raised(exercise, answer):
    assert "raises" in said("made.1", answer)


class Unprintable:
    def __repr__(self):
        raise ValueError("no")


def test_even_an_answer_that_cannot_be_printed_does_not_raise(exercise):
    assert said("made.1", lambda x: Unprintable())


def test_an_unknown_exercise_is_a_sentence(exercise):
    assert said("why.9", unsolved) == (
        "why.9 could not be checked: there is no exercise 'why.9' to grade, "
        "but why.1, why.2, why.3."
    )
    for name in ("nothing.1", "../x.1"):
        assert f"there is no exercise {name!r} to grade, but chaos.1, " in said(name, unsolved)


def test_hints_come_in_three_steps(capsys):
    for _ in range(4):
        hint("ring.1")
    hint("no.1")
    *lines, unknown = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"ring.1, hint {step} of 3" for step in (1, 2, 3, 3)
    ]
    assert unknown.startswith("there is no exercise 'no.1' to grade")


def deaf():
    """Hears what it is told at the fourth time, as code that is in a callback may."""
    for _ in range(3):
        with contextlib.suppress(SystemExit):
            while True:
                pass
    while True:
        pass


@pytest.mark.parametrize("wait", ["spin", "sleep", "deaf"])
def test_an_answer_that_never_ends_is_given_up(exercise, wait):
    left = []

    def forever(x):
        try:
            while True:
                {"spin": int, "sleep": lambda: time.sleep(30), "deaf": deaf}[wait]()
        finally:
            left.append(True)

    begin = time.monotonic()
    assert "no answer within 0.5 s" in judge("made.1", forever).sentence
    assert time.monotonic() - begin < 5
    assert left or wait == "sleep"  # it must not go on eating a core, or the memory


def test_an_answer_that_works_in_place_does_not_disturb_the_next_case(monkeypatch):
    def fill(x):
        x += 1
        return x

    place = [Exercise(fill, lambda r: (torch.zeros(3),))]
    monkeypatch.setattr("labkit.check.parts", lambda name: place)
    assert judge("place.1", fill).passed is True


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1.0, 1.0 + 1e-9),
        (3, 3.0),
        (float("nan"), float("nan")),
        ("a", "a"),
        ([1, (2.0, "x")], [1, [2.0, "x"]]),
        ({"a": np.ones(3)}, {"a": [1, 1, 1]}),
        (torch.ones(2, 3), torch.ones(2, 3)),
        (np.array([1, np.nan]), np.array([1, np.nan])),
    ],
)
def test_equal_values(expected, got):
    assert difference(expected, got) is None


@pytest.mark.parametrize(
    ("expected", "got", "word"),
    [
        (1.0, 1.001, "1.001"),
        (1, True, "True"),
        (True, 1.5, "1.5"),
        (1.0, float("nan"), "nan"),
        (1.0, None, "None"),
        ([1, 2], [1, 3], "[1]"),
        ([1, 2], [1], "2 items"),
        ({"a": 1}, {"b": 1}, "keys"),
        ({"a": [0, 1]}, {"a": [0, 2]}, "['a'][1]"),
        (np.zeros((2, 2)), np.eye(2), "[0, 0]"),
        (np.zeros(3), np.zeros(4), "shape"),
        (torch.zeros(3), [0, 0, 0], "tensor"),
    ],
)
def test_different_values_are_told_apart_and_where(expected, got, word):
    assert word in (difference(expected, got) or "no difference")


@pytest.mark.parametrize(
    ("expected", "got", "drawn"),
    [
        (1.0, 2.0, True),
        (np.arange(6.0), np.ones(6), True),
        (torch.ones(2, 3), torch.ones(3, 2), True),
        (np.ones((2, 3, 4)), np.zeros((2, 3, 4)), True),
        ("words", "words", False),  # a table has what differs
        ("words", "others", True),
        ({"a": "x", "b": (1, None)}, {"a": "x", "b": "$y$"}, True),
        (1.0, None, True),  # None becomes nan: a point that is missing
        (np.ones(0), np.ones(0), False),
    ],
)
def test_the_picture_is_drawn_where_there_is_something_to_draw(expected, got, drawn):
    figure = expected_beside_got([Case((), expected, got)])
    assert (figure is not None) == drawn
    if drawn:
        assert figure.png().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1.0, 10**400),
        (True, torch.ones(3)),
        ("wait", np.array(["wait", "x"])),
        (np.ones(2), [[1], [1, 2]]),
        (np.ones(2), ["x", "y"]),
        (torch.ones(2), torch.ones(2, dtype=torch.bfloat16)),
        ([1, {"a": 2}], [1, {"a": np.ones(2)}]),
    ],
)
def test_what_cannot_be_compared_differs(expected, got):
    assert "should be" in difference(expected, got)


def test_words_are_told_whole_and_data_is_cut():
    words = "in its terms it votes for rank 0 and rank 1, then for nobody, then for rank 0"
    assert text(words) == repr(words)
    assert difference("one", words) == f" should be 'one', yours gives {words!r}"
    assert len(text(list(range(100)))) <= MOST
    assert len(text(b"x" * 1000)) <= MOST
    assert len(text(torch.zeros(100))) <= MOST
    assert len(text("x" * 1000)) <= SENTENCE
