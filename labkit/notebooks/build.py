"""Builds the notebooks that are stored in the repository, and checks that they match their sources.

Stored notebooks are executed, with their outputs, because readers on a code host want the pictures.
What would differ from build to build (times, widgets' states) or not be seen there is taken out.
"""

from __future__ import annotations

import base64
import copy
import os
import tempfile
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

from labkit.notebooks import QUIET_KERNEL, NotebookError
from labkit.notebooks.source import METADATA, Notebook, digest, inputs, read

PICTURE_LIMIT = 60_000
NOTEBOOK_LIMIT = 1_000_000
CELL_SECONDS = 120
PARAMETERS = ("world_size", "backend", "device", "seed", "fast")
WIDGET = "application/vnd.jupyter.widget-view+json"


def built_path(source: Path) -> Path:
    """notebooks/src/02_ring.py is built as notebooks/02_ring.ipynb."""
    return source.parents[1] / f"{source.stem}.ipynb"


def build(source: Path, *, force: bool = False) -> bool:
    """Builds one notebook; False when the stored one is of this source already."""
    import nbformat

    path = built_path(source)
    if path.exists() and not force and not problems(source):
        return False
    notebook = read(source)
    execute(notebook, path)
    found = widgets_without_tag(notebook)
    tidy(notebook)
    if found := [*found, *cells_wrong(notebook), *too_large(notebook)]:
        raise NotebookError(f"{path.name} is not stored: " + "; ".join(found))
    text = nbformat.writes(notebook)
    path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    return True


def try_solutions(source: Path) -> None:
    """Runs the notebook with its solutions in place and stores nothing."""
    execute(read(source, solutions=True), built_path(source))


def execute(notebook: Notebook, path: Path) -> None:
    """Runs all cells, in the folder of `path`. Raises NotebookError where a cell fails."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    from labkit.views.progress import Progress, progress

    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    bar: Progress[None] = progress(total=cells, description=path.stem, unit="cell")
    with bar, tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            extra_arguments=QUIET_KERNEL,
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,
            coalesce_streams=True,
            on_cell_complete=lambda **_: bar.update(),
        )
        try:
            nobody = str(Path(folder) / "progress.json")  # nothing is solved yet, and stays here
            client.execute(env={**os.environ, "LABKIT_PROGRESS": nobody})
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise NotebookError(f"{path.stem} did not run to its end: {error}") from None


def tidy(notebook: Notebook) -> None:
    """Takes out what a reader of the stored notebook cannot see and what changes by itself."""
    stored = {**METADATA, "labkit": notebook.metadata.labkit}
    notebook.metadata.clear()  # of the kernel's version, and of the widgets' states
    notebook.metadata.update(copy.deepcopy(stored))
    drop_widgets(notebook)


def drop_widgets(notebook: Notebook) -> None:
    """A stored widget is an error message, or the name of a class, to whoever reads the page; and
    the place that a panel keeps below itself for a picture is an empty line."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = [dict(o.get("data", {})) for o in cell.outputs]
            shown = [WIDGET not in some and some != {"text/plain": ""} for some in data]
            cell.outputs = list(compress(cell.outputs, shown))


def widgets_without_tag(notebook: Notebook) -> list[str]:
    """nbval compares the stored outputs with new ones, and a widget is not stored."""
    return [
        f"cell {index} shows a widget: tag it nbval-ignore-output, and draw a picture in the next"
        for index, cell in enumerate(notebook.cells)
        if any(WIDGET in output.get("data", {}) for output in cell.get("outputs", []))
        and "nbval-ignore-output" not in cell.metadata.get("tags", [])
    ]


def pictures(notebook: Notebook) -> Iterator[tuple[int, str, bytes]]:
    """(index of the cell, "png" or "svg", the file's bytes) of each picture among the outputs."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                yield index, "png", base64.b64decode(data["image/png"])
            elif "image/svg+xml" in data:
                yield index, "svg", "".join(data["image/svg+xml"]).encode()


def too_large(notebook: Notebook) -> Iterator[str]:
    import nbformat

    for index, kind, content in pictures(notebook):
        if len(content) > PICTURE_LIMIT:
            yield (
                f"the {kind} of cell {index} is {len(content) // 1000} KB, over "
                f"{PICTURE_LIMIT // 1000} KB: draw it smaller or with fewer marks"
            )
    size = len(nbformat.writes(notebook).encode())
    if size > NOTEBOOK_LIMIT:
        yield f"the notebook is {size / 1e6:.1f} MB, over {NOTEBOOK_LIMIT / 1e6:.0f} MB"


def problems(source: Path) -> list[str]:
    """What is wrong with the stored notebook of `source`, as sentences; empty when nothing is."""
    import nbformat

    path = built_path(source)
    if not path.exists():
        return [f"{path.name} has not been built from {source.name}"]
    built = nbformat.read(path, as_version=4)
    found = [f"{path.name}: {text}" for text in cells_wrong(built)]
    found += [f"{path.name}: {text}" for text in too_large(built)]
    if built.metadata.get("labkit", {}).get("source_sha256") != digest(source):
        found.append(f"{path.name} was built from another version of {source.name}")
    elif inputs(built) != inputs(read(source)):
        found.append(f"{path.name} was edited by hand: its cells are not those of {source.name}")
    return found


def orphans(notebooks: Path) -> list[str]:
    """A sentence for each stored notebook that has no source."""
    stored = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    sources = {source.stem for source in (notebooks / "src").glob("*.py")}
    return [f"{path.name} has no source" for path in stored if path.stem not in sources]


def cells_wrong(notebook: Notebook) -> Iterator[str]:
    parameters = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    named = "".join(cell.source for cell in parameters[:1])
    if len(parameters) != 1 or any(f"{name} = " not in named for name in PARAMETERS):
        yield f"one cell tagged `parameters` must set {', '.join(PARAMETERS)}"
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if cell.execution_count is None:
            yield f"cell {index} has not been executed"
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and "raises-exception" not in cell.metadata.get("tags", []):
            yield f"cell {index} ended in an error"
