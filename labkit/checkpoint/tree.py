"""A nested state as two flat things: its tensors by name, and the rest as readable JSON.

What `state_dict()` returns is a tree: dictionaries, lists and tuples, with tensors, numbers and
words as leaves. A file of tensors (`shards.py`) knows names only, so the tree is taken apart: a
tensor's name is the way to it ("optimizer/state/0/exp_avg"), and the plain part says, in its
place, which tensor goes there. JSON knows no tuples, no keys but words and no infinite numbers;
these are written as a dictionary with one key that begins with "$".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from torch import Tensor


class Portion(NamedTuple):
    """What this rank has of a tensor whose other elements are at other ranks: `values` are those
    from `start` on, in the flat order of a whole of `shape`. It may have none of them."""

    values: Tensor  # 1-D
    shape: tuple[int, ...]
    start: int


Leaves = dict[str, Tensor | Portion]


def flatten(tree: Any, way: str = "") -> tuple[Leaves, Any]:
    """The tensors of `tree` by name, not copied, and the rest as plain data for JSON.

    Raises TypeError for a leaf of another kind, and ValueError where two ways have one name.
    """
    tensors: Leaves = {}
    return tensors, _plain(tree, way, tensors)


def _plain(node: Any, way: str, tensors: Leaves) -> Any:
    if isinstance(node, Tensor | Portion):
        if way in tensors:
            raise ValueError(f"two tensors of the state are called {way!r}: rename a key")
        tensors[way] = node.detach() if isinstance(node, Tensor) and node.requires_grad else node
        return {"$tensor": way}
    if isinstance(node, bool | str | None):
        return node
    if isinstance(node, Integral):  # also NumPy's
        return int(node)
    if isinstance(node, Real):
        return float(node) if math.isfinite(node) else {"$float": repr(float(node))}
    if isinstance(node, list):
        return [_plain(item, _join(way, i), tensors) for i, item in enumerate(node)]
    if isinstance(node, tuple):
        return {"$tuple": _plain(list(node), way, tensors)}
    if isinstance(node, Mapping):
        return _plain_mapping(node, way, tensors)
    raise TypeError(
        f"{way}: a {type(node).__name__} cannot be saved without executing code when it is read. "
        "Give it as tensors, numbers, words, lists and dictionaries"
    )


def _plain_mapping(node: Mapping[Any, Any], way: str, tensors: Leaves) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in node):
        return {key: _plain(value, _join(way, key), tensors) for key, value in node.items()}
    items = node.items()
    pairs = [[_plain(k, way, {}), _plain(v, _join(way, k), tensors)] for k, v in items]
    return {"$items": pairs}


def _join(way: str, key: Any) -> str:
    return f"{way}/{key}" if way else str(key)


def unflatten(tensors: Mapping[str, Tensor], plain: Any) -> Any:
    """The tree again. Raises KeyError for a tensor that is not there."""
    if isinstance(plain, list):
        return [unflatten(tensors, item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"$tensor": name}:
            return tensors[name]
        case {"$float": text}:
            return float(text)
        case {"$tuple": items}:
            return tuple(unflatten(tensors, items))
        case {"$items": pairs}:
            return {_key(unflatten(tensors, k)): unflatten(tensors, v) for k, v in pairs}
    return {key: unflatten(tensors, value) for key, value in plain.items()}


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
