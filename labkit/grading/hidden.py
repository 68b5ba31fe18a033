"""Parts of a check that would give the answer away, such as a search for the best setting.

    @hidden
    def best(slowest, loss): ...

In a copy for students such a function has no body: there it gives what it gave for the cases of
seed 0, which `labkit release` has written down. So its value may depend on what was drawn alone,
and never on an answer.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import msgspec

KNOWN = "known.msgpack"
F = TypeVar("F", bound=Callable[..., Any])
_taken: dict[str, Any] | None = None


def hidden(function: F) -> F:
    """Decorates a function of `checks.py` that is not handed out."""
    folder = Path(function.__code__.co_filename).parent

    @wraps(function)
    def called(*arguments: Any) -> Any:
        key = key_of(function.__name__, arguments)
        if (known := handed_out(folder)) is not None:
            return known[key]
        global _taken
        taken, _taken = _taken, None  # what it calls itself need not be known
        try:
            value = function(*arguments)
        finally:
            _taken = taken
        if taken is not None:
            taken[key] = value
        return value

    return called  # type: ignore[return-value]


@contextmanager
def taken_down() -> Iterator[dict[str, Any]]:
    """What hidden functions give meanwhile."""
    global _taken
    _taken = {}
    try:
        yield _taken
    finally:
        _taken = None


def key_of(name: str, arguments: tuple[Any, ...]) -> str:
    return f"{name}/{hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]}"


@cache
def handed_out(folder: Path) -> dict[str, Any] | None:
    """What `labkit release` left in the place of a solution; None where the solution is there."""
    from labkit.grading.inside.values import unpack

    path = folder / KNOWN
    if not path.exists():
        return None
    found: dict[str, Any] = unpack(msgspec.msgpack.decode(path.read_bytes()))
    return found


def without_hidden(text: str) -> str:
    """The source of a check without the bodies of its hidden functions."""
    lines = text.splitlines(keepends=True)
    for part in reversed(ast.parse(text).body):
        if isinstance(part, ast.FunctionDef) and any(map(is_mark, part.decorator_list)):
            first = part.body[0].lineno - 1
            lines[first : part.end_lineno] = ["    ...\n"]
    return "".join(lines)


def is_mark(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == hidden.__name__
