"""Message classes that were defined in a notebook, on their way to the workers.

cloudpickle sends a class as its name and its attributes; a `msgspec.Struct` made from those has no
fields. Here it goes as what `msgspec.defstruct` needs to make it again, once in each process.
"""

from __future__ import annotations

import inspect
import io
import uuid
from types import FunctionType
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

import cloudpickle
import msgspec

_identities: WeakKeyDictionary[type, str] = WeakKeyDictionary()
_made: dict[str, type] = {}


def dumps(value: Any) -> bytes:
    """`cloudpickle.dumps`, for values that may refer to message classes of a notebook."""
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, value: Any) -> Any:
        is_struct = isinstance(value, type) and issubclass(value, msgspec.Struct)
        if is_struct and (value.__module__ == "__main__" or "<locals>" in value.__qualname__):
            return _reduce(value)
        return super().reducer_override(value)


def _reduce(kind: type[msgspec.Struct]) -> Any:
    """Fields first, then methods, which may refer to the class itself."""
    identity = _identities.setdefault(kind, uuid.uuid4().hex)
    hints = get_type_hints(kind, include_extras=True)
    own = inspect.get_annotations(kind)
    fields = [
        (f.name, hints[f.name], f.default, f.default_factory)
        for f in msgspec.structs.fields(kind)
        if f.name in own
    ]
    config = kind.__struct_config__
    options = {k: getattr(config, k) for k in ("frozen", "eq", "order", "array_like", "tag")}
    options |= {"module": kind.__module__, "namespace": {"__doc__": kind.__doc__}}
    made = identity, kind.__name__, fields, kind.__bases__, options
    methods = {
        name: value
        for name, value in vars(kind).items()
        if isinstance(value, FunctionType | property | classmethod | staticmethod)
    }
    return _make, made, methods, None, None, _add


def _make(
    identity: str, name: str, fields: list[Any], bases: tuple[type, ...], options: dict[str, Any]
) -> type:
    if identity not in _made:
        field: Any = msgspec.field
        made = [
            (f, kind, field(default=default, default_factory=factory))
            for f, kind, default, factory in fields
        ]
        _made[identity] = msgspec.defstruct(name, made, bases=bases, **options)
        _identities[_made[identity]] = identity
    return _made[identity]


def _add(kind: type, methods: dict[str, Any]) -> None:
    for name, method in methods.items():
        setattr(kind, name, method)
