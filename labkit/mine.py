"""`mine("ring.1", "elastic.3")`: the answers that a learner has written in earlier notebooks.

An answer is kept where it was written and nowhere else: in the learner's copy of the notebook, in a
cell above `check("ring.1", my_reduce_scatter)`. So it is read from there. What runs are the
imports and definitions above the check, constants and lambdas among them; no other statement of
that notebook is executed. An answer counts when the exercise's own check says that it is right.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.check import judge

KINDS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
"""Statements that define something and do nothing; so does a name for a constant or a lambda."""


@dataclass(frozen=True)
class Answer:
    """Of one exercise; `function` is None unless it is right."""

    exercise: str
    notebook: str
    function: Callable[..., Any] | None
    said: str


def mine(*exercises: str, folder: str | Path = ".") -> dict[str, Callable[..., Any]]:
    """The learner's functions by exercise, of those that are right; says a line for each.

    They are looked for in the notebooks of `folder`, as they were last saved.
    """
    answers = [find(exercise, Path(folder)) for exercise in exercises]
    for answer in answers:
        print(f"{answer.exercise:10} {answer.said}")
    return {a.exercise: a.function for a in answers if a.function is not None}


def find(exercise: str, folder: Path) -> Answer:
    """Reads the notebook that has the exercise, and checks what stands there."""
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        codes = list(cells(path))
        asked = [(i, name) for i, tree in enumerate(codes) if (name := checked(tree, exercise))]
        if asked:
            return answer(exercise, title(path), codes[: asked[-1][0]], asked[-1][1])
    return Answer(exercise, "", None, "is in no notebook of this folder: the lab's own is used")


def answer(exercise: str, notebook: str, codes: list[ast.Module], name: str) -> Answer:
    function = definitions(codes).get(name)
    if function is None:
        said = f"is not to be found in notebook {notebook}: the lab's own is used"
        return Answer(exercise, notebook, None, said)
    verdict = judge(exercise, function)
    if verdict.passed:
        return Answer(exercise, notebook, function, f"yours, from notebook {notebook}")
    state = "not done yet" if verdict.passed is None else "not right yet"
    return Answer(exercise, notebook, None, f"{state} (notebook {notebook}): the lab's own is used")


def cells(notebook: Path) -> Iterator[ast.Module]:
    """What of its code cells can be read as Python; a magic, say, cannot."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError):  # no notebook, or half of one
        return
    for cell in content:
        if cell["cell_type"] == "code":
            try:
                yield ast.parse("".join(cell["source"]))
            except SyntaxError:
                yield ast.Module([], [])


def title(notebook: Path) -> str:
    """Its first heading: `02 Ring all-reduce`."""
    content = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = "".join("".join(cell["source"]) + "\n" for cell in content).splitlines()
    return next((line[2:] for line in lines if line.startswith("# ")), notebook.stem)


def checked(tree: ast.Module, exercise: str) -> str | None:
    """The name in `check("exercise", name)`, where the cell has such a line."""
    for node in tree.body:
        match node:
            case ast.Expr(
                ast.Call(ast.Name("check"), [ast.Constant(value), ast.Name(name), *_])
            ) if value == exercise:
                return name
    return None


def names_a_value(node: ast.stmt) -> bool:
    """`CHUNKS = 4`, `rows = [1, 2]`, `half = lambda n: n // 2`: nothing is called."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    if isinstance(node.value, ast.Lambda):
        return True
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True


def definitions(codes: list[ast.Module]) -> dict[str, Any]:
    """The names that the cells' imports, functions, classes and constants define, in their order.

    What fails (an import of something that is gone, a default that was computed in the notebook)
    is left out: an answer that needed it will not pass its check.
    """
    names: dict[str, Any] = {"__name__": "__main__"}  # so that cloudpickle sends them by value
    for tree in codes:
        for node in tree.body:
            if isinstance(node, KINDS) or names_a_value(node):
                try:
                    exec(compile(ast.Module([node], []), "<your notebook>", "exec"), names)
                except Exception:
                    continue
    return names
