"""Runs notebooks without a browser, with other parameters, and leaves a page to look at.

papermill executes; what it calls a success is not always one (a cell that calls sys.exit(0) ends
the kernel and the rest never runs), so every cell is looked at afterwards.
"""

from __future__ import annotations

import ast
import json
import logging
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.notebooks import QUIET_KERNEL, NotebookError
from labkit.notebooks.build import drop_widgets, pictures
from labkit.notebooks.metrics import metrics
from labkit.notebooks.source import Notebook

CELL_SECONDS = 600
INTERRUPTED = "interrupted"
BESIDE = re.compile(r"\]\((?![\w+.-]+:|[#/])")
"""The beginning of a link to a file: not to a place on the net, nor in the same notebook."""


@dataclass
class Outcome:
    """What became of one notebook; the paths are of files in the run's directory."""

    name: str
    title: str = ""
    error: str = ""
    seconds: float = 0.0
    cells: int = 0
    notebook: Path | None = None
    html: Path | None = None
    metrics: Path | None = None
    pictures: list[Path] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.error


def parse(assignments: list[str]) -> dict[str, Any]:
    """Of "name=value" on the command line: 8 is a number, true a truth value, nccl a text."""
    parameters: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name.isidentifier() or not equals:
            raise NotebookError(f"Write -p NAME=VALUE, as in -p world_size=8; not {assignment!r}.")
        value = value.capitalize() if value in ("true", "false") else value
        try:
            parameters[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            parameters[name] = value
    return parameters


def require_parameters(notebooks: list[Path], parameters: dict[str, Any]) -> None:
    """Raises NotebookError for a parameter that a notebook does not have: it would do nothing."""
    import papermill

    if not parameters:
        return
    for path in notebooks:
        known = papermill.inspect_notebook(str(path))
        for name in parameters:
            if name not in known:
                raise NotebookError(
                    f"{path.stem} has no parameter {name!r}; it has: {', '.join(known) or 'none'}."
                )


def run(
    notebooks: list[Path],
    parameters: dict[str, Any],
    out: Path,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Runs all, also after one that fails, and writes `out`/index.html after each. Interrupted, it
    does so for the one that was, and raises KeyboardInterrupt."""
    from labkit.notebooks.index import write_index

    require_parameters(notebooks, parameters)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotebookError(f"{out} cannot be the folder of this run: {error.strerror}.") from None
    outcomes: list[Outcome] = []
    for path in notebooks:
        outcome = run_one(path, parameters, out)
        outcomes.append(outcome)
        write_index(outcomes, parameters, out)
        say(
            f"{'passed' if outcome.passed else 'FAILED'}  {outcome.name}  {outcome.seconds:.1f} s"
            + (f"  {outcome.error}" if outcome.error else "")
        )
        if outcome.error == INTERRUPTED:
            raise KeyboardInterrupt
    return outcomes


def run_one(path: Path, parameters: dict[str, Any], out: Path) -> Outcome:
    """Executes one notebook in its own folder; its files go to `out`/NAME.*."""
    import nbformat
    import papermill
    from papermill.execute import remove_error_markers

    from labkit.views.progress import Progress, progress

    for talkative in ("papermill", "traitlets"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    outcome = Outcome(path.stem, notebook=out / path.name)
    total = count_cells(path, parameters)
    bar: Progress[None] = progress(total=total, description=path.stem, unit="cell")
    before = set(clusters_in(out))
    begin = time.monotonic()
    try:
        with bar:
            papermill.execute_notebook(
                str(path),
                str(outcome.notebook),
                parameters=parameters,
                kernel_name="python3",
                cwd=str(path.parent),
                progress_bar=False,
                on_cell_complete=lambda **_: bar.update(),
                execution_timeout=CELL_SECONDS,
                extra_arguments=QUIET_KERNEL,
            )
    except papermill.PapermillExecutionError:
        pass  # of a cell, in the stored notebook: `wrong` tells whether it was meant
    except KeyboardInterrupt:
        outcome.error = INTERRUPTED
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of what nbclient leaves behind
    except Exception as error:  # nbclient, the kernel, the file system: each has its own
        outcome.error = f"{type(error).__name__}: {error}".splitlines()[0]
    outcome.seconds = time.monotonic() - begin
    if outcome.notebook is None or not outcome.notebook.exists():
        outcome.notebook = None
        return outcome
    notebook = remove_error_markers(nbformat.read(outcome.notebook, as_version=4))
    outcome.cells = count_cells(outcome.notebook)
    outcome.title = title(notebook) or path.stem
    outcome.error = outcome.error or next(wrong(notebook), "")
    outcome.pictures = list(save_pictures(notebook, out / path.stem))
    outcome.html = out / f"{path.stem}.html"
    outcome.html.write_text(as_html(notebook, path.parent), encoding="utf-8")
    fresh = [folder for folder in clusters_in(out) if folder not in before]
    figures = metrics(notebook, parameters, fresh)
    outcome.metrics = out / f"{path.stem}.metrics.json"
    outcome.metrics.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return outcome


def clusters_in(out: Path) -> list[Path]:
    """The folders of the clusters that notebooks have made, in order, each with its events."""
    return sorted(file.parent for file in (out / "clusters").glob("*/events"))


def count_cells(path: Path, parameters: Collection[str] = ()) -> int:
    """Those that are executed: of code, not empty, and the one that papermill adds for parameters,
    in the place of that of an earlier execution."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    codes = [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    there = any("injected-parameters" in cell["metadata"].get("tags", []) for cell in codes)
    return len(codes) + (bool(parameters) and not there)


def wrong(notebook: Notebook) -> Iterator[str]:
    """A sentence for each code cell that failed, or was not executed to its end. Of an error it is
    the first line: the rest, a worker's traceback perhaps, stands in the notebook."""
    codes = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(codes, start=1):
        meant = "raises-exception" in cell.metadata.get("tags", [])
        error = next((o for o in cell.outputs if o.output_type == "error" and not meant), None)
        status = cell.metadata.get("papermill", {}).get("status", "unknown")
        if error:
            reason = f"{error.ename}: {error.evalue}".splitlines()[0]
            yield f"In [{cell.execution_count}]: {reason}"
        elif cell.execution_count is None or status != "completed":
            yield f"code cell {number} of {len(codes)} was not executed to its end ({status})"


def title(notebook: Notebook) -> str:
    """The first heading."""
    lines = (line for cell in notebook.cells for line in cell.source.splitlines())
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), "")


def save_pictures(notebook: Notebook, folder: Path) -> Iterator[Path]:
    for number, (index, kind, content) in enumerate(pictures(notebook), start=1):
        folder.mkdir(exist_ok=True)
        path = folder / f"{number:02d}-cell-{index}.{kind}"
        path.write_bytes(content)
        yield path


def as_html(notebook: Notebook, folder: Path) -> str:
    """One page with its pictures inside; what it links to is in the notebook's own `folder`.
    Formulas are typeset where there is a network."""
    from nbconvert import HTMLExporter

    drop_widgets(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = BESIDE.sub(f"]({folder.resolve().as_uri()}/", cell.source)
    none = dict.fromkeys(("require_js_url", "jquery_url", "mermaid_js_url"), "")
    exporter = HTMLExporter(mermaid_layout_elk_js_url="", **none)
    return str(exporter.from_notebook_node(notebook)[0])
