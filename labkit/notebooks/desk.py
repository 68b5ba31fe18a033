"""The learner's desk: copies of the notebooks in `my-notebooks/`, which git ignores.

Working on the committed notebooks would mark them as changed with every saved output, and the next
`git pull` would stop at a conflict in the learner's answers. So the desk gets a copy of each: a
notebook whose cells the learner has not touched follows the repository, one with work in it stays.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

RECORD = ".copied.json"


def lay_out(notebooks: Path, desk: Path) -> list[str]:
    """Brings the desk up to date. Returns a sentence for each notebook that has a newer version
    but keeps the learner's work."""
    desk.mkdir(exist_ok=True)
    record = desk / RECORD
    copied: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    sentences = []
    for original in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        name, copy, newest = original.name, desk / original.name, cells(original)
        if not copy.exists() or (copied.get(name) != newest and cells(copy) == copied.get(name)):
            shutil.copyfile(original, copy)
        elif copied.get(name) != newest:
            sentences.append(
                f"{copy.parent.name}/{name} holds your work, so it stays as it is. To take the "
                f"newer version, rename yours and come back."
            )
            continue
        copied[name] = newest
    record.write_text(json.dumps(copied, indent=1))
    for other in [*notebooks.glob("*.md"), *notebooks.glob("pictures/*")]:  # what cells refer to
        copy = desk / other.relative_to(notebooks)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(other, copy)
    return sentences


def cells(notebook: Path) -> str:
    """A digest of what a person writes in a notebook: the cells, not what they printed. Empty for
    a file that is no notebook, which then counts as the learner's own work."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        texts = [[cell["cell_type"], "".join(cell["source"])] for cell in content["cells"]]
    except (ValueError, KeyError, TypeError):
        return ""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
