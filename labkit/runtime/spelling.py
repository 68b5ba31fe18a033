"""A run's call as code, to start another one like it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONG = 40
"""Letters of a text, and elements of a list, that are spelled out."""


def spelled(name: str, elastic: bool, arguments: Mapping[str, Any]) -> str:
    """`run = cluster.run(train, elastic=True, steps=100, faults=plan)`; an argument that no code
    says is left out, and named after it."""
    if not name.isidentifier():
        return "# start it as before, with faults=plan"
    plain = {key: value for key, value in arguments.items() if is_plain(value)}
    given = [name, *(["elastic=True"] if elastic else [])]
    given += [f"{key}={value!r}" for key, value in plain.items()] + ["faults=plan"]
    left = ", ".join(key for key in arguments if key not in plain)
    return f"run = cluster.run({', '.join(given)})" + (f"  # and {left}, as before" if left else "")


def is_plain(value: Any) -> bool:
    """Whether its `repr` is code that makes it again, and short."""
    match value:
        case None | bool() | int():
            return True
        case float():
            return math.isfinite(value)
        case str():
            return len(value) <= LONG
        case list() | tuple():
            return len(value) <= LONG and all(map(is_plain, value))
    return False
