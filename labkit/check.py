"""`check("why.1", my_function)`: a first look at an answer, inside the notebook.

It runs the function on a few drawn cases, says in one sentence what is right or wrong, and draws
expected beside got. It never raises and never waits past the exercise's deadline, so that an
unsolved notebook runs from top to bottom. Graded checks are another matter: this one trusts the
learner, and runs the answer in the learner's own kernel.
"""

from __future__ import annotations

import copy
import ctypes
import inspect
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.checks import Case, Exercise, parts
from labkit.grading.shrunk import SECONDS, drawn, shortest, told
from labkit.progress import progress as progress  # notebooks have all three from here
from labkit.progress import remember
from labkit.simulator.finding import Finding

if TYPE_CHECKING:
    from labkit.grading.exercise import Property

MOST, SENTENCE = 60, 240
"""Characters that are shown of data, and of what was written to be read: a check's own words, and
the text of what a case was drawn from."""
LAST_WORDS = 1.0
"""Seconds that a late answer has for coming to its end."""
DATA = (list, tuple, dict, set, frozenset, bytes, np.ndarray)


@dataclass(frozen=True)
class Verdict:
    """`passed` is None for "not done yet". `finding` is the schedule that shows what is wrong,
    where the simulator judges."""

    passed: bool | None
    sentence: str
    cases: list[Case] = field(default_factory=list)
    finding: Finding | None = None


def check(name: str, function: Callable[..., Any], seed: int = 0) -> None:
    """Prints one sentence and draws, where there is something to draw, expected beside got; where
    the simulator judges, the fewest faults that break the answer, and what they lead to."""
    try:
        exercise, verdict = judge_all(name, function, seed)
        print(verdict.sentence)
        if verdict.finding:
            print("\n".join(told(verdict.finding)))
        if verdict.passed and exercise.title:  # only graded ones have a title
            remember(name)
        if verdict.cases:
            show(exercise, verdict)
    except Exception as error:  # whatever it is, the notebook goes on
        print(f"{name} could not be checked: {error.args[0] if error.args else error}.")


def hint(name: str) -> None:
    """Prints a hint for a graded exercise: the next one each time, of three."""
    from labkit.grading import exercise

    try:
        hints = exercise.load(name).about.hints
    except KeyError as error:
        print(f"{error.args[0]}.")
        return
    given = _hints_given[name] = min(_hints_given.get(name, 0) + 1, len(hints))
    print(f"{name}, hint {given} of {len(hints)}: {hints[given - 1]}")


_hints_given: dict[str, int] = {}


def judge(name: str, function: Callable[..., Any], seed: int = 0) -> Verdict:
    """Runs `function` on the cases drawn from `seed`. Raises KeyError for an unknown name."""
    return judge_all(name, function, seed)[1]


def judge_all(name: str, function: Callable[..., Any], seed: int) -> tuple[Exercise, Verdict]:
    """The first property that does not hold, and what was found; else the first one, and how many
    hold."""
    exercises, verdicts = parts(name), []
    if not all(is_known(name, exercise, seed) for exercise in exercises):
        return exercises[0], Verdict(None, without_solutions(name, exercises, function, seed))
    for exercise in exercises:
        verdicts.append(judge_one(name, exercise, function, seed))
        if not verdicts[-1].passed:
            return exercise, verdicts[-1]
    if len(exercises) > 1:
        held = f"{name} is right: all {len(exercises)} properties hold."
        return exercises[0], Verdict(True, held, verdicts[0].cases)
    return exercises[0], verdicts[0]


def judge_one(name: str, exercise: Exercise, function: Callable[..., Any], seed: int) -> Verdict:
    texts = seeds(name, exercise.title, exercise.cases, seed)
    draws = [exercise.draw(random.Random(text)) for text in texts]
    cases: list[Case] = []
    right = None if exercise.known is None else [exercise.known[text] for text in texts]
    wrong = within(exercise.seconds, partial(answer, exercise, function, draws, cases, right))
    if isinstance(wrong, NotImplementedError):
        return Verdict(None, f"{name}: not done yet.")
    if isinstance(wrong, TimeoutError):
        return Verdict(False, f"{name}: no answer within {exercise.seconds:g} s; does it wait?")
    if isinstance(wrong, BaseException):
        where = call_text(function, draws[min(len(cases), len(draws) - 1)])
        said = " ".join(str(wrong).split())[:120]
        raised = f"{type(wrong).__name__}{f' ({said})' if said else ''}"
        return Verdict(False, f"{name}: {where} raises {raised}.", cases)
    if wrong is None:
        return Verdict(True, f"{name} is right: {len(cases)} of {len(cases)} cases agree.", cases)
    named = mistake(exercise, function, draws)
    title = f"{exercise.title}: " if exercise.title else ""
    sentence = f"{name}: {title}{wrong}{f': {named}' if named else ''}."
    return Verdict(False, sentence, cases, found(exercise, function, cases))


def is_known(name: str, exercise: Exercise, seed: int) -> bool:
    texts = seeds(name, exercise.title, exercise.cases, seed)
    return exercise.known is None or all(text in exercise.known for text in texts)


def without_solutions(
    name: str, exercises: Sequence[Exercise], function: Callable[..., Any], seed: int
) -> str:
    """What was drawn, and what the answer gives: all that a student's copy of the lab can tell of a
    seed that the grader has used."""
    lines = [f"{name}: this copy cannot say what is right for seed {seed}. Yours gives"]
    for exercise in exercises:
        lines.append(f"{exercise.title}:")
        try:
            texts = seeds(name, exercise.title, exercise.cases, seed)
            draws = [exercise.draw(random.Random(text)) for text in texts]
        except KeyError:  # `labkit.grading.hidden`
            lines.append("  what was drawn cannot be shown without the solution")
            continue
        for arguments in draws:
            got = within(
                exercise.seconds, partial(exercise.run, function, *copy.deepcopy(arguments))
            )
            if isinstance(got, NotImplementedError):
                return f"{name}: not done yet."
            lines.append(f"  {call_text(function, arguments)} → {gives(got)}")
            if isinstance(got, TimeoutError):
                break
    return "\n".join(lines)


def gives(got: Any) -> str:
    if isinstance(got, TimeoutError):
        return "no answer in time"
    if isinstance(got, BaseException):
        return f"raises {got!r}"
    if isinstance(got, dict):  # of many schedules, say: what is said of any of them
        return "; ".join(dict.fromkeys(text(value) for value in got.values()))
    return text(got)


def found(
    exercise: Exercise | Property, function: Callable[..., Any], cases: Sequence[Case]
) -> Finding | None:
    """The fewest faults that show what is wrong with the first wrong case."""
    if exercise.trial is None:
        return None
    wrong = next(c for c in cases if difference(c.expected, c.got, exercise.tolerance))
    finding = within(2 * SECONDS, partial(shortest, exercise.trial, function, wrong))
    return None if isinstance(finding, BaseException) else finding


def seeds(name: str, title: str, cases: int, seed: int) -> list[str]:
    """What each case is drawn from. A property draws the same ones here and in the grader."""
    place = f"{seed}/{name}/{title}" if title else f"{seed}"
    return [f"{place}/{i}" for i in range(cases)]


def answer(
    exercise: Exercise,
    function: Callable[..., Any],
    draws: list[tuple],
    cases: list[Case],
    right: list[Any] | None = None,
) -> str | None:
    """Fills `cases`; what is wrong with the first wrong one, or None. `right` is known already, or
    the reference says it."""
    first = None
    for place, arguments in enumerate(draws):
        # each gets its own copy: an all-reduce, say, works in place
        if right is None:
            expected = exercise.run(exercise.reference, *copy.deepcopy(arguments))
        else:
            expected = right[place]
        got = exercise.run(function, *copy.deepcopy(arguments))
        cases.append(Case(arguments, expected, got))
        wrong = difference(expected, got, exercise.tolerance)
        if wrong and not first:
            first = call_text(function, arguments) + wrong
    return first


def mistake(exercise: Exercise, function: Callable[..., Any], draws: list[tuple]) -> str | None:
    """The sentence of the known mistake that gives the same answers on every case."""
    for sentence, wrong_function in exercise.mistakes.items():
        twin = Exercise(wrong_function, exercise.draw, run=exercise.run)
        if within(exercise.seconds, partial(answer, twin, function, draws, [])) is None:
            return sentence
    return None


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """The value of `function()`, or the exception it raised, or TimeoutError after `seconds`.

    It runs in a thread, since a fork of a kernel with torch and a live cluster in it is not safe.
    A thread that is late is told to stop until it does: where it is just then, in a callback or in
    the learner's `except:`, the first telling may be lost, and what goes on may take all memory.
    One that waits in C code for longer than LAST_WORDS stays behind, as a daemon.
    """
    box: list[Any] = []

    def target() -> None:
        try:
            box.append(function())
        except BaseException as error:  # a learner's sys.exit() must not end the notebook
            box.append(error)

    thread = threading.Thread(target=target, daemon=True, name="check")
    thread.start()
    thread.join(seconds)
    if not thread.is_alive():
        return box[0]
    deadline = time.monotonic() + LAST_WORDS
    while thread.is_alive() and time.monotonic() < deadline:
        interrupt = ctypes.pythonapi.PyThreadState_SetAsyncExc
        interrupt(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        thread.join(LAST_WORDS / 100)
    return TimeoutError()


def difference(expected: Any, got: Any, tolerance: float = 1e-6, place: str = "") -> str | None:
    """None when the values agree, else how they differ, to be read after the call's text."""
    try:
        return compared(expected, got, tolerance, place)
    except (TypeError, ValueError, ArithmeticError, RuntimeError):  # True beside a tensor, 10**400
        return f"{place} should be {text(expected)}, yours gives {text(got)}"


def compared(expected: Any, got: Any, tolerance: float, place: str) -> str | None:
    if hasattr(expected, "detach"):  # a tensor, without importing torch
        if not hasattr(got, "detach"):
            return f"{place} should be a tensor, yours is {text(got)}"
        expected, got = expected.detach().cpu().numpy(), got.detach().cpu().numpy()
    if isinstance(expected, np.ndarray):
        return array_difference(expected, got, tolerance, place)
    if isinstance(expected, dict):
        if not isinstance(got, dict) or set(got) != set(expected):
            return f"{place} should have the keys {sorted(expected)}, yours is {text(got)}"
        pairs = [(f"{place}[{key!r}]", expected[key], got[key]) for key in expected]
    elif isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return f"{place} should have {len(expected)} items, yours is {text(got)}"
        pairs = [(f"{place}[{i}]", expected[i], got[i]) for i in range(len(expected))]
    elif same(expected, got, tolerance):
        return None
    else:
        return f"{place} should be {text(expected)}, yours gives {text(got)}"
    return next((d for p, a, b in pairs if (d := difference(a, b, tolerance, p))), None)


def array_difference(expected: np.ndarray, got: Any, tolerance: float, place: str) -> str | None:
    got = np.asarray(got)
    if got.shape != expected.shape:
        return f"{place} should have shape {expected.shape}, yours has {got.shape}"
    if got.dtype == object or expected.dtype.kind in "SU":
        agree = got == expected
    else:
        agree = np.isclose(expected, got, rtol=tolerance, atol=tolerance, equal_nan=True)
    if np.all(agree):
        return None
    first = tuple(int(i) for i in np.argwhere(~np.asarray(agree))[0])
    index = f"[{', '.join(map(str, first))}]" if first else ""
    want, have = expected[first].item(), got[first].item()
    return f"{place}{index} should be {text(want)}, yours gives {text(have)}"


def same(expected: Any, got: Any, tolerance: float) -> bool:
    numbers = (int, float, np.integer, np.floating)
    if isinstance(expected, bool) or not isinstance(expected, numbers):
        return bool(expected == got)
    if isinstance(got, bool) or not isinstance(got, numbers):
        return False
    if math.isnan(expected):
        return math.isnan(got)
    return math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance * 1e-3)


def text(value: Any) -> str:
    """A value as a reader wants it in a sentence: numbers to six digits, what is long cut."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, list):  # of a long one the beginning is enough
        shown = f"[{', '.join(map(text, value[:MOST]))}]"
    else:
        shown = " ".join(repr(value).split())
    is_data = isinstance(value, DATA) or hasattr(value, "detach")
    most = MOST if is_data else SENTENCE
    return shown if len(shown) <= most else f"{shown[: most - 3]}…"


def call_text(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """`goodput(mtbf=3.1, write=0.01)`, with the names of the function's parameters."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    shown = [text(a) for a in arguments]
    if len(names) == len(shown):
        shown = [f"{name}={value}" for name, value in zip(names, shown, strict=True)]
    return f"{getattr(function, '__name__', 'your function')}({', '.join(shown)})"


def show(exercise: Exercise, verdict: Verdict) -> None:
    """Draws; a picture that cannot be drawn is left out, for the sentence is what counts."""
    try:
        figure = drawn(exercise.picture, verdict.cases, verdict.finding)
    except Exception:
        return
    if figure is not None:
        from IPython.display import display

        display(figure)
