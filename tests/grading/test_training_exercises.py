"""The exercises of notebooks 05, 06, 08, 11, 13 and 18: what they say is so, and what they show."""

from __future__ import annotations

import random
from typing import Any

import pytest

from labkit import check
from labkit.checks import Case
from labkit.grading import exercise, score
from labkit.views.evidence import evidence, recorded

FIND = [name for name in exercise.ids() if exercise.load(name).about.kind == "find"]
PICTURES = [
    (name, prop.title)
    for name in ("hang.4", "hang.5", "ckpt.1", "ckpt.7", "hosts.1", "hosts.2", "hosts.3")
    for prop in exercise.load(name).properties
]


@pytest.mark.parametrize("name", FIND)
def test_what_is_to_be_repaired_runs_and_is_wrong(name: str) -> None:
    """Without the line that says that nothing was done, there is the bug."""
    graded = exercise.load(name)
    lines = graded.skeleton.splitlines()
    bug = "\n".join(line for line in lines if "raise NotImplementedError" not in line)
    verdict = check.judge(name, graded.define(bug))
    assert verdict.passed is False
    assert "raises" not in verdict.sentence


@pytest.mark.parametrize("one", recorded(), ids=lambda one: one["cause"])
def test_the_solution_names_what_was_done_to_the_recorded_jobs(one: dict[str, Any]) -> None:
    graded = exercise.load("hang.5")
    answer = graded.define(graded.reference)(one["incident"])
    assert answer == (one["cause"], one["rank"])


def test_the_evidence_shows_every_rank_and_accuses_nobody_unasked() -> None:
    one = recorded()[0]
    figure = evidence(one["incident"], "Why?")
    texts = [text for axes in figure.axes for text in axes.texts]
    shown = {text.get_text() for text in texts}
    assert {f"rank {rank}" for rank in one["incident"]} <= shown
    assert one["cause"] not in shown
    assert len({text.get_color() for text in texts if text.get_text().startswith("rank")}) == 1


def test_the_careful_loop_does_what_the_solution_predicts() -> None:
    graded = exercise.load("elastic.4")
    predict = graded.define(graded.reference)
    for prop in graded.properties:
        for seed in range(50):
            observed = prop.run(predict, *prop.draw(random.Random(seed)))
            assert observed["you say"] == observed["the loop ends with"]


@pytest.mark.parametrize(("factor", "enough"), [(1.0, True), (1.4, True), (0.7, True), (3, False)])
def test_a_budget_forgives_a_rough_guess_and_no_wrong_rule(factor: float, enough: bool) -> None:
    """Twelve jobs each: what is lost depends on the rule, not on the luck of the draw."""
    graded = exercise.load("ckpt.7")
    solution = graded.define(graded.reference)
    prop = graded.properties[0]
    kept = set()
    for seed in range(12):
        (job,) = prop.draw(random.Random(seed))
        judged = prop.run(lambda *given: [factor * e for e in solution(*given)], job)
        kept.add(judged["lost"].startswith("at most"))
    assert kept == {enough}


@pytest.mark.parametrize(("name", "title"), PICTURES)
def test_its_picture_is_drawn(name: str, title: str) -> None:
    """Of a wrong answer; of a right one too, where there is something to see."""
    graded = exercise.load(name)
    prop = next(prop for prop in graded.properties if prop.title == title)
    mutant = next(m for m in graded.mutants.values() if m.killed_by == title)
    cases = []
    for arguments in score.draws(graded, prop, 0):
        expected = prop.run(graded.define(graded.reference), *arguments)
        got = prop.run(graded.define(graded.mutated(mutant)), *arguments)
        cases.append(Case(arguments, expected, got))
    if name == "hang.4" and title != graded.properties[0].title:
        assert score.png(prop, cases, None) == b""  # all are done, if late
    else:
        assert score.png(prop, cases, None).startswith(b"\x89PNG")
