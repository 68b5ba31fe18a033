"""What the room of checkpoints may know of the others: imports point down."""

from __future__ import annotations

import ast
from pathlib import Path

import labkit.checkpoint

BELOW = {"events", "faults", "disk", "views", "protocols", "reliability", "checkpoint"}


def test_imports_point_down() -> None:
    files = list(Path(labkit.checkpoint.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit."):
                assert node.module is not None
                assert node.module.split(".")[1] in BELOW, f"{file.name}: {node.module}"
            elif isinstance(node, ast.Import):
                deep = [name.name for name in node.names if name.name.startswith("labkit.")]
                assert deep == [], file.name
