"""Verdicts on one submission: each property in a jail of its own, judged out here."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from labkit import check
from labkit.checks import Case
from labkit.collectives.trace import Stuck
from labkit.grading.calls import TEXT, PortError, StudentError
from labkit.grading.exercise import Graded, Property
from labkit.grading.inside.channel import Ended, Garbled, Late
from labkit.grading.jail import Cell, Jailed, JailError, Zygote
from labkit.grading.nodes import Afresh
from labkit.grading.record import Result, Verdict
from labkit.grading.shrunk import SECONDS, drawn, told
from labkit.simulator.finding import Finding

drawing = threading.Lock()
"""matplotlib is not made for several threads."""
GRACE, PICTURE = 1.0, 10.0
"""Seconds beyond the deadline of a jail, and for a picture, which takes 0.3 s."""


def score(
    zygote: Callable[[], Zygote],
    exercises: Sequence[Graded],
    cells: Mapping[str, str],
    seed: int,
) -> list[Result]:
    """A result for each property of each exercise, with or without a cell for it."""
    results = []
    for graded in exercises:
        for prop in graded.properties:
            if graded.id in cells:
                results.append(judge(zygote, graded, prop, cells[graded.id], seed))
            else:
                result = blank(graded, prop, seed)
                result.sentence = "there is no cell for this exercise"
                results.append(result)
    return results


def blank(graded: Graded, prop: Property, seed: int) -> Result:
    """FAIL, to begin with."""
    points = graded.about.points[prop.title]
    replay = f'check("{graded.id}", {graded.about.function}, seed={seed})'
    return Result(graded.id, prop.title, points, Verdict.FAIL, "", replay)


def judge(
    zygote: Callable[[], Zygote], graded: Graded, prop: Property, source: str, seed: int
) -> Result:
    """The verdict on one property of the cell `source`."""
    result = blank(graded, prop, seed)
    cell = Cell(graded.id, source, graded.about.function)
    cases: list[Case] = []
    begin = time.monotonic()
    try:
        mother = zygote()
        begin = time.monotonic()
        jailed = mother.jail(cell, graded.about.seconds, prop.ranks, prop.network)
        try:
            cases = in_time(graded, partial(run, graded, prop, jailed, seed))
            compare(graded, prop, cases, result)
        except (Ended, Late, Garbled, StudentError, PortError, Stuck) as error:
            blame(result, error, jailed, graded)
        finally:
            jailed.close()
            result.printed = jailed.text.decode(errors="replace")
        if result.verdict is Verdict.FAIL and cases:
            show(graded, prop, cases, Afresh(mother, cell, SECONDS, prop.ranks), result)
    except (Ended, Late, Garbled, StudentError) as error:  # while the cell was loaded
        blame(result, error, None, graded)
    except JailError as error:
        result.verdict, result.sentence = Verdict.UNKNOWN, f"the grader has no jail: {error}"
    except Exception as error:
        result.verdict = Verdict.UNKNOWN
        result.sentence = f"the grader could not judge this: {type(error).__name__}: {error}"
    result.seconds = round(time.monotonic() - begin, 3)
    return result


def run(graded: Graded, prop: Property, jailed: Jailed, seed: int) -> list[Case]:
    """What is expected, and what the answer in the jail gives, for each case."""
    reference = graded.define(graded.reference)
    cases = []
    for arguments in draws(graded, prop, seed):
        expected = prop.run(reference, *copy.deepcopy(arguments))
        got = prop.run(jailed, *copy.deepcopy(arguments))
        cases.append(Case(arguments, expected, got))
    return cases


def in_time(graded: Graded, call: Callable[[], list[Case]]) -> list[Case]:
    """The jail has a deadline; this is for what the grader does with what came from there: of a
    million faults, say, each without the others. Raises Late, and what the call raises."""
    found = check.within(graded.about.seconds + GRACE, call)
    if isinstance(found, TimeoutError):
        raise Late
    if isinstance(found, BaseException):
        raise found
    cases: list[Case] = found
    return cases


def draws(graded: Graded, prop: Property, seed: int) -> list[tuple[Any, ...]]:
    """The arguments of each case: the same in a notebook, in the grader and in a replay."""
    texts = check.seeds(graded.id, prop.title, prop.cases, seed)
    return [prop.draw(random.Random(text)) for text in texts]


def compare(graded: Graded, prop: Property, cases: Sequence[Case], result: Result) -> None:
    reference = graded.define(graded.reference)
    wrong = [
        (check.call_text(reference, case.arguments), difference)
        for case in cases
        if (difference := check.difference(case.expected, case.got, prop.tolerance))
    ]
    if not wrong:
        result.verdict = Verdict.PASS
        result.sentence = f"{len(cases)} of {len(cases)} drawn cases agree"
        return
    result.case = wrong[0][0]
    result.sentence = "".join(wrong[0])
    for mutant in graded.mutants.values():
        if same_answers(graded, prop, graded.define(graded.mutated(mutant)), cases):
            result.mistake = mutant.name
            result.sentence += f": {mutant.sentence}"
            break


def same_answers(
    graded: Graded, prop: Property, function: Callable[..., Any], cases: Sequence[Case]
) -> bool:
    """Whether a wrong answer of the lab's own gives what the student's gave, every time."""

    def differs() -> bool:
        for case in cases:
            answer = prop.run(function, *copy.deepcopy(case.arguments))
            if check.difference(answer, case.got, prop.tolerance):
                return True
        return False

    return check.within(graded.about.seconds, differs) is False


def blame(result: Result, error: Exception, jailed: Jailed | None, graded: Graded) -> None:
    """The verdict on an answer that gave none."""
    function = graded.about.function
    result.verdict = Verdict.ERROR
    if isinstance(error, Late):
        result.verdict = Verdict.TIMEOUT
        result.sentence = f"no answer within {graded.about.seconds:g} s; does it wait?"
    elif isinstance(error, Ended):
        how = jailed.why_ended() if jailed else "it ended"
        result.sentence = f"{function} ended the process that it ran in: {how}"
    elif isinstance(error, StudentError) and error.kind == "NotImplementedError":
        result.verdict, result.sentence = Verdict.FAIL, "not done yet"
    elif isinstance(error, StudentError):
        result.sentence = f"{function} raises {error}"
        if error.kind in ("NameError", "ModuleNotFoundError"):
            result.sentence += "; all that it needs must stand in its own cell"
        result.lines = error.lines
    else:
        result.sentence = f"{function}: {error}"


def show(
    graded: Graded, prop: Property, cases: Sequence[Case], answer: Afresh, result: Result
) -> None:
    """Draws what is wrong, as a PNG, where there is something to draw; tells of the fewest faults
    that show it, where the simulator judges. The verdict stands: nothing that goes wrong here, and
    nothing that the answer does in here, is of any weight."""
    finding = None
    with contextlib.suppress(Exception), answer:
        finding = check.found(prop, answer, cases)
    if finding is not None:
        result.faults = finding.kinds[:TEXT]
        result.lines = [line[:TEXT] for line in told(finding)]
    picture = check.within(PICTURE, partial(png, prop, cases, finding))
    result.picture = picture if isinstance(picture, bytes) else b""


def png(prop: Property, cases: Sequence[Case], finding: Finding | None) -> bytes:
    output = io.BytesIO()
    with drawing:
        figure = drawn(prop.picture, cases, finding)
        if figure is not None:
            figure.savefig(output, format="png")
    return output.getvalue()
