"""What a learner has written in a notebook is found there, checked, and trained with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from labkit import At, Cluster, FaultPlan, Kill, Restart, RunError
from labkit.checks import parts
from labkit.mine import mine
from labkit.notebooks import NOTEBOOKS
from labkit.notebooks.source import read, with_solutions
from labkit.training import train
from labkit.training.pieces import EXERCISES, pieces

HELPER = """
import math

def rows(order, position, batch):
    return order[position : position + batch]
"""
RIGHT = """
def mine_is(order, position, batch, place, size):
    mine = rows(order, position, batch)
    share = [math.floor(at * len(mine) / size) for at in (place, place + 1)]
    return mine[slice(*share)]
"""
CHECK = 'from labkit.check import check\n\ncheck("elastic.1", mine_is)'


def notebook(folder: Path, *codes: str, name: str = "11_elastic_restart") -> None:
    cells = [{"cell_type": "code", "source": code.splitlines(keepends=True)} for code in codes]
    cells.insert(0, {"cell_type": "markdown", "source": ["# 11 Elastic restart\n", "Text"]})
    (folder / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_an_answer_comes_with_what_is_defined_above_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook(tmp_path, "raise SystemExit('no statement runs')", HELPER, "%magic", RIGHT, CHECK)

    found = mine("elastic.1", folder=tmp_path)

    assert said(capsys) == "elastic.1 yours, from notebook 11 Elastic restart"
    sent = cloudpickle.loads(cloudpickle.dumps(found["elastic.1"]))
    assert sent(list(range(8)), 0, 8, 1, 2) == [4, 5, 6, 7]


def test_constants_and_lambdas_come_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They passed the check in the notebook, where all cells have run; what calls something is
    not run here."""
    above = "ONE, names = 1, {'a': [2]}\nrows = lambda o, at, b: o[at : at + b]\nsix = exit(6)"
    answer = RIGHT.replace("place + 1", "place + ONE")
    notebook(tmp_path, "import math", above, answer, CHECK)

    assert list(mine("elastic.1", folder=tmp_path)) == ["elastic.1"]

    assert said(capsys) == "elastic.1 yours, from notebook 11 Elastic restart"


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (["def mine_is(*_):\n    raise NotImplementedError('exercise')", CHECK], "not done yet"),
        (["def mine_is(*_):\n    return []", CHECK], "not right yet"),
        (["mine_is = print", CHECK], "is not to be found"),
        ([RIGHT, CHECK], "not right yet"),  # its helper is gone
        ([RIGHT], "is in no notebook"),
    ],
)
def test_without_a_right_answer_the_labs_own_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], codes: list[str], words: str
) -> None:
    notebook(tmp_path, *codes)

    assert mine("elastic.1", folder=tmp_path) == {}

    line = said(capsys)
    assert words in line
    assert line.endswith("the lab's own is used")


def test_what_is_no_notebook_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "03_broken.ipynb").write_text("{")
    notebook(tmp_path, HELPER, RIGHT, CHECK)
    assert list(mine("elastic.1", folder=tmp_path)) == ["elastic.1"]
    assert "yours" in said(capsys)


@pytest.mark.parametrize("solved", [True, False])
def test_in_a_built_notebook_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], solved: bool
) -> None:
    """As the builder puts exercises and checks there; a learner has filled in three, or none."""
    for stem in ("06_checkpoints", "11_elastic_restart"):
        built = read(NOTEBOOKS / "src" / f"{stem}.py", solutions=solved)
        for cell in built.cells:
            cell.source = with_solutions(cell.source)
        (tmp_path / f"{stem}.ipynb").write_text(json.dumps(built))

    found = mine("ckpt.2", "elastic.1", "elastic.3", folder=tmp_path)

    assert list(found) == (["ckpt.2", "elastic.1", "elastic.3"] if solved else [])
    assert said(capsys).count("from notebook 11" if solved else "not done yet") == (
        2 + (not solved)
    )


# -- training with them


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3, record=False) as three:
        yield three


@pytest.mark.slow
def test_training_with_right_answers_gives_the_same_bits(cluster: Cluster) -> None:
    answers = {name: parts(name)[0].reference for name in EXERCISES}
    job: dict[str, Any] = {"steps": 24, "exact": True}
    calm = cluster.run(train, **job).wait(timeout=60).results[0]
    plan = FaultPlan(At(Kill(1), step=5), At(Restart(1), step=7, on=0))

    run = cluster.run(train, elastic=True, faults=plan, mine=answers, **job).wait(timeout=60)

    assert {result["hash"] for result in run.results.values()} == {calm["hash"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
def test_each_answer_is_called(cluster: Cluster, name: str) -> None:
    def refuses(*_: object) -> None:
        raise LookupError(f"here is {name}")

    with pytest.raises(RunError, match=f"here is {name}"):
        cluster.run(train, mine={name: refuses}, steps=3).wait(timeout=60)


def test_an_exercise_that_is_no_piece_of_the_loop_is_named() -> None:
    with pytest.raises(ValueError, match=r"exercise hb\.1 is no piece of the loop"):
        pieces({"hb.1": print})


def test_what_is_no_answer_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"mine=True: give the answers.*labkit.mine.mine\("):
        pieces(True)  # type: ignore[arg-type]
