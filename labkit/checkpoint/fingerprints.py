"""Is it the same training that goes on? Short words for code and for data, kept in the manifest."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType
from typing import Any

import torch
from torch import Tensor


def fingerprint(*parts: Any) -> str:
    """16 hexadecimal digits. What counts is, of a tensor or an array, type, shape and bytes; of a
    function, a class or a module, its source, or what was compiled of it where there is none (in a
    worker, of what a notebook defines); of a list, a mapping or a dataclass, what is in it; of
    anything else its `repr`.

    Raises TypeError for an object that shows less than it is: two data sets would have the same
    fingerprint, or one set another in every process.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()


def _feed(digest: Any, part: Any) -> None:
    if isinstance(part, Tensor):
        whole = part.detach().cpu().contiguous()
        digest.update(repr((whole.dtype, tuple(whole.shape))).encode())
        digest.update(whole.flatten().view(torch.uint8).numpy().data)
    elif hasattr(part, "__array_interface__") and not part.dtype.hasobject:  # NumPy's
        digest.update(repr((part.dtype.str, part.shape)).encode())
        digest.update(part.tobytes())
    elif inspect.ismodule(part) or inspect.isroutine(part) or inspect.isclass(part):
        _feed_code(digest, part)
    elif isinstance(part, partial):
        _feed(digest, (part.func, part.args, part.keywords))
    elif is_dataclass(part):
        _feed(digest, [getattr(part, field.name) for field in fields(part)])
    elif isinstance(part, Mapping):
        _feed(digest, [*part, *part.values()])
    elif isinstance(part, Set):
        _feed(digest, sorted(part, key=repr))
    elif isinstance(part, list | tuple):
        digest.update(f"{len(part)} items".encode())
        for item in part:
            _feed(digest, item)
    else:
        digest.update(_shown(part).encode())


def _shown(part: Any) -> str:
    shown = repr(part)
    if not isinstance(part, str | bytes) and re.search(r"\.\.\.| at 0x[0-9a-f]+", shown):
        raise TypeError(
            f"no fingerprint of {shown[:80]!r}: a {type(part).__name__} leaves out what is in it, "
            "or shows its address, another one in every process. Give what it is made of: tensors, "
            "arrays, numbers, words, lists"
        )
    return shown


def _feed_code(digest: Any, part: Any) -> None:
    """Of a built-in function nothing but its name is to be had."""
    try:
        digest.update(inspect.getsource(part).encode())
    except (OSError, TypeError):
        digest.update(getattr(part, "__qualname__", part.__name__).encode())
        for code in _compiled(part):
            _feed_compiled(digest, code)


def _compiled(part: Any) -> Iterator[CodeType]:
    members = [vars(part)[name] for name in sorted(vars(part))] if inspect.isclass(part) else [part]
    for member in members:
        function = member.fget if isinstance(member, property) else member
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None:
            yield code


def _feed_compiled(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    _feed(digest, code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _feed_compiled(digest, constant)
        else:
            _feed(digest, constant)
