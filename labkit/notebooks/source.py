"""From `notebooks/src/NN_topic.py` to a notebook without outputs: same source, same bytes.

A source is jupytext's "percent" format with nbgrader's markers around the part of an exercise that
a learner writes. Right below stands the stub, with the exercise's id and a hint:

    def neighbours(rank, size):
        ### BEGIN SOLUTION
        return (rank - 1) % size, (rank + 1) % size
        ### END SOLUTION
        raise NotImplementedError("exercise ring.1: whom a rank hears, and whom it tells")

Learners get the function with the stub alone. It raises only when it is called, so that an unsolved
notebook runs from top to bottom.

An exercise that is graded has its cell in `labkit/grading/exercises`; in the source there is an
empty one, `# %% exercise="ring.1"`, in whose place come that cell and a call of its check. The
first line of the cell, `# exercise: ring.1`, is what the grader finds it by. Where a bug is to be
found, learners get the cell with the bug of seed 0 in it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.notebooks import NotebookError

if TYPE_CHECKING:
    from labkit.grading.exercise import Graded

Notebook = Any
"""An nbformat.NotebookNode: a dictionary whose items are also attributes."""

BEGIN = re.compile(r"^(\s*)### BEGIN SOLUTION\s*$")
END = re.compile(r"^\s*### END SOLUTION\s*$")
MARK = re.compile(r"\s*#\s*exercise:?\s+([a-z][a-z_]*\.[0-9]+)\s*$")
INSTEAD = r'raise NotImplementedError\("exercise [a-z][a-z_]*\.[0-9]+\b'

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


def read(source: Path, *, solutions: bool = False) -> Notebook:
    """The notebook of a source, for learners or with the solutions in place, not executed."""
    import jupytext
    import nbformat

    notebook = jupytext.read(source, fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {**METADATA, "labkit": {"source": f"src/{source.name}", "source_sha256": digest(source)}}
    )
    notebook.cells = [new for cell in notebook.cells for new in filled(cell, solutions)]
    taken: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            stripped = without_solutions(cell.source, source.name)
            _require_valid(stripped, source.name)
        else:
            stripped = cell.source
        for key in [key for key in cell.metadata if key.startswith("lines_to_")]:
            del cell.metadata[key]  # jupytext's notes on blank lines
        cell.id = _new_id(cell.cell_type + stripped, taken)
        cell.source = cell.source if solutions else stripped
    return notebook


def filled(cell: Any, solutions: bool) -> list[Any]:
    """The two cells of an exercise in the place of the empty one; any other cell as it is. Raises
    NotebookError."""
    from nbformat.v4 import new_code_cell

    name = cell.metadata.get("exercise")
    if name is None:
        return [cell]
    if cell.source.strip():
        raise NotebookError(f"the cell of exercise {name} is not empty: {cell.source!r}")
    graded = exercise(name)
    check = f'from labkit.check import check\n\ncheck("{name}", {graded.about.function})'
    cell = new_code_cell(graded.reference if solutions else graded.skeleton)
    return [cell, new_code_cell(check)]


def exercise(name: str) -> Graded:
    """Raises NotebookError."""
    from labkit.grading.exercise import ExerciseError, read

    try:
        return read(name)
    except ExerciseError as error:
        raise NotebookError(f"there is no exercise {name} to put there: {error}") from None


def mark_of(cell: str) -> str | None:
    """The exercise that a cell says it belongs to, in its first line that is not empty."""
    first = next((line for line in cell.splitlines() if line.strip()), "")
    found = MARK.match(first)
    return found and found[1]


def digest(source: Path) -> str:
    """Of all that a notebook is built from."""
    content = source.read_bytes()
    for name in re.findall(rb'^# %% exercise="(.*)"$', content, re.MULTILINE):
        graded = exercise(name.decode())
        content += (graded.folder / "cell.py").read_bytes()
        content += graded.skeleton.encode() if graded.given else b""
    return hashlib.sha256(content).hexdigest()


def with_solutions(code: str) -> str:
    """The cell as its author solves it. The stub stays below, where nothing comes to."""
    kept = [line for line in code.splitlines() if not (BEGIN.match(line) or END.match(line))]
    return "\n".join(kept)


def without_solutions(code: str, where: str = "") -> str:
    """The learner's version of a cell. Raises NotebookError for a solution that has no end, stands
    outside a function, or has no stub right below it."""
    kept: list[str] = []
    indent: str | None = None
    lines = code.splitlines()
    for number, line in enumerate(lines):
        if begin := BEGIN.match(line):
            if indent is not None:
                raise NotebookError(f"{where}: a solution begins inside a solution: {code!r}")
            indent = begin[1]
        elif END.match(line):
            if not indent:
                raise NotebookError(f"{where}: a solution stands in a function, not here: {code!r}")
            if not re.match(indent + INSTEAD, "".join(lines[number + 1 : number + 2])):
                raise NotebookError(
                    f"{where}: below END SOLUTION, at its indentation, must stand the stub, as in "
                    f'`raise NotImplementedError("exercise ring.1: a hint")`: {code!r}'
                )
            indent = None
        elif indent is None:
            kept.append(line)
    if indent is not None:
        raise NotebookError(f"{where}: a solution has no END SOLUTION: {code!r}")
    return "\n".join(kept)


def _require_valid(code: str, where: str) -> None:
    try:
        compile(code, where, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        line = code.splitlines()[(error.lineno or 1) - 1] if code else ""
        raise NotebookError(
            f"{where}: without its solution this cell is no Python ({error.msg}): {line!r}"
        ) from None


def _new_id(text: str, taken: set[str]) -> str:
    """An id that depends on the cell alone, so that a new cell changes no other's."""
    stem = hashlib.sha256(text.encode()).hexdigest()[:8]
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}"
    taken.add(name)
    return name


def inputs(notebook: Notebook) -> list[tuple[str, str, str, dict[str, Any]]]:
    """What of a notebook comes from its source: (id, type, text, metadata) of each cell."""
    return [(cell.id, cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]
