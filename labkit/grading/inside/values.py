"""Values that cross the wall of a jail: plain data, tensors and records, with exact types.

An answer could be a `float` whose `__eq__` is always true. Such a thing has no form here: a value
is written down as what it is, by its exact type, and read as that type again. Nothing is unpickled
and nothing that is read can bring code along.

On the wire it is msgpack. What msgpack would confuse is a dictionary with one key, which says what
it is: {"tuple": [...]}, {"dict": [[key, value], ...]}, {"tensor": ["float32", shape, bytes]},
{"record": ["Kill", [2]]}. Which records there are says `labkit.grading.inside.records`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from labkit.grading.inside.records import is_record, put_together, taken_apart

HASHED = 4096
"""Items of a set or a dictionary: with chosen hashes, ten times as many take a hundred times as
long to read."""
DEPTH = 40
"""Containers in containers; a list that holds itself ends here, too."""
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
}
ARRAYS = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")

Hook = Callable[[Any], Any]


def pack(value: Any, hook: Hook | None = None, depth: int = DEPTH) -> Any:
    """`value` as a tree that msgpack can write. `hook` may give the tree of a value of its own and
    None for all others. Raises TypeError for what is not plain, ValueError for what is too deep."""
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if depth == 0:
        raise ValueError(f"containers are nested more than {DEPTH} deep")
    if hook is not None and (tree := hook(value)) is not None:
        return tree
    if kind is int:
        return value if -(2**63) <= value < 2**63 else {"int": str(value)}
    if kind is list:
        return [pack(item, hook, depth - 1) for item in value]
    if kind in (tuple, set, frozenset):
        name = "tuple" if kind is tuple else "set"
        return {name: [pack(item, hook, depth - 1) for item in value]}
    if kind is dict:
        pairs = [[pack(part, hook, depth - 1) for part in pair] for pair in value.items()]
        return {"dict": pairs}
    if is_record(value):
        name, fields = taken_apart(value)
        return {"record": [name, [pack(field, hook, depth - 1) for field in fields]]}
    return _pack_numbers(value, kind)


def _pack_numbers(value: Any, kind: type) -> Any:
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return pack(value.item())
    if kind is np.ndarray and str(value.dtype) in ARRAYS:
        return {"array": [str(value.dtype), list(value.shape), value.tobytes()]}
    if kind in (torch.Tensor, torch.nn.Parameter) and value.layout is torch.strided:
        flat = value.detach().cpu().resolve_conj().contiguous().view(-1)
        name = str(value.dtype).removeprefix("torch.")
        if name in DTYPES:
            raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
            return {"tensor": [name, list(value.shape), raw]}
    raise TypeError(
        f"{kind.__name__} is no plain value: give numbers, texts, lists, tuples, dicts, tensors, "
        "or the lab's own faults and effects"
    )


def unpack(tree: Any, hook: Hook | None = None, depth: int = DEPTH) -> Any:
    """The value that `pack` wrote down. `hook` reads what it does not know, {name: content}, and
    sees every tensor. Raises ValueError for anything else."""
    if tree is None or type(tree) in (bool, int, float, str, bytes):
        return tree
    if depth == 0:
        raise ValueError(f"containers are nested more than {DEPTH} deep")
    if type(tree) is list:
        return [unpack(item, hook, depth - 1) for item in tree]
    if type(tree) is not dict or len(tree) != 1:
        raise ValueError("not a value")
    ((name, content),) = tree.items()
    if name in ("tuple", "set", "dict"):
        return _unpack_container(name, content, hook, depth)
    if name == "record" and type(content) is list and len(content) == 2:
        kind, fields = content
        if type(fields) is not list:
            raise ValueError("not a record")
        return put_together(kind, [unpack(field, hook, depth - 1) for field in fields])
    if name == "int" and type(content) is str:
        return int(content)  # Python itself refuses more than 4300 digits
    if name in ("tensor", "array"):
        value = _unpack_numbers(name, content)
        return value if hook is None else hook({name: value})
    if hook is None:
        raise ValueError(f"not a value: {name!r}")
    return hook(tree)


def _unpack_container(name: str, content: Any, hook: Hook | None, depth: int) -> Any:
    if type(content) is not list:
        raise ValueError(f"not a {name}")
    if name != "tuple" and len(content) > HASHED:
        raise ValueError(f"a {name} of more than {HASHED} items")
    items = [unpack(item, hook, depth - 1) for item in content]
    try:
        return tuple(items) if name == "tuple" else set(items) if name == "set" else dict(items)
    except TypeError:
        raise ValueError(f"not a {name}") from None  # of lists, say


def _unpack_numbers(name: str, content: Any) -> Any:
    if type(content) is not list or len(content) != 3:
        raise ValueError(f"not a {name}")
    dtype, shape, raw = content
    known = dtype in (DTYPES if name == "tensor" else ARRAYS)
    if not known or type(raw) is not bytes or type(shape) is not list:
        raise ValueError(f"not a {name}")
    if any(type(length) is not int or not 0 <= length <= 1 << 32 for length in shape):
        raise ValueError(f"not the shape of a {name}")
    flat = np.frombuffer(bytearray(raw), np.uint8)
    try:
        if name == "array":
            return flat.view(dtype).reshape(shape)
        return torch.from_numpy(flat).view(DTYPES[dtype]).reshape(shape)
    except (ValueError, RuntimeError):
        raise ValueError(f"{len(raw)} bytes are no {name} of shape {shape}") from None
