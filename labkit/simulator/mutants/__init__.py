"""Mutants: bugs that real implementations had, each as one change of the lab's own code.

    with applied(mutant):
        play(scenario, schedule)

A mutant replaces the code of one function in place, so that messages and invariants stay the very
objects that they were. A simulator that lets one live is not done.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from msgspec import Struct


class Mutant(Struct, frozen=True):
    """`old` stands exactly once in the source of `module`, inside a function; the bug is `new`.

    `killer` is the invariant that must find it, `seed` the first one of the `scenario` that does,
    and `source` says whose bug it was.
    """

    id: str
    title: str
    source: str
    module: str
    old: str
    new: str
    killer: str
    scenario: str
    seed: int = 0


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Within the block the mutated function runs, wherever it is called from in this process."""
    module = importlib.import_module(mutant.module)
    original = _functions(module, mutant.old, mutant.old)
    mutated = _functions(module, mutant.old, mutant.new)
    changed = [name for name in original if _differ(original[name], mutated.get(name))]
    if len(changed) != 1:
        raise ValueError(f"mutant {mutant.id} changes {changed or 'no function'}: it must be one")
    function = _find(module, changed[0])
    before = function.__code__
    function.__code__ = mutated[changed[0]]
    try:
        yield
    finally:
        function.__code__ = before


def _functions(module: ModuleType, old: str, new: str) -> dict[str, CodeType]:
    """The code of the module's functions and methods, by qualified name, after the change."""
    path = Path(str(module.__file__))
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise ValueError(f"{path.name} has {text.count(old)} places like {old!r}: it must be one")
    code = compile(text.replace(old, new), str(path), "exec", dont_inherit=True)
    return dict(_below(code))


def _below(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Functions of the module and methods of its classes; what is nested in them is part of them.

    A class's body is a function too, but one without the `CO_OPTIMIZED` flag (1).
    """
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & 1:
                yield constant.co_qualname, constant
            else:
                yield from _below(constant)


def _differ(a: CodeType, b: CodeType | None) -> bool:
    """Whether they do something else; that a line stands elsewhere is no difference."""
    return b is None or _essence(a) != _essence(b)


def _essence(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(
        _essence(c) if isinstance(c, CodeType) else (type(c).__name__, repr(c))
        for c in code.co_consts
    )
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


def _find(module: ModuleType, name: str) -> FunctionType:
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    if not isinstance(found, FunctionType):
        raise TypeError(f"{name} in {module.__name__} is no function")
    return found
