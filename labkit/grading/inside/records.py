"""Records: the faults of a schedule, the effects of a handler, the messages between nodes.

They cross the wall of a jail by name, with their fields in order, and are made anew on the other
side from fields that are of the declared types: no other class, no field more or less, no number
that is infinite. A subclass has no name here, whatever it calls itself.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, get_args, get_type_hints

import msgspec

from labkit import faults
from labkit.protocols import effects
from labkit.protocols.raft import messages as raft
from labkit.protocols.two_phase_commit import messages as commit

FAULTS = get_args(faults.Fault)
MESSAGES = tuple(
    kind
    for module in (raft, commit)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, effects.Message) and kind != effects.Message
)
EFFECTS = get_args(effects.Effect)
KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(*FAULTS, faults.At, *EFFECTS, effects.Splice, effects.Stored),
        *(*MESSAGES, raft.Entry),
    )
}
PLAIN: dict[type, dict[str, Any]] = {
    effects.Persist: {"values": dict[str, Any]},
    effects.Record: {"kind": str, "name": str, "data": dict[str, Any]},
}
"""Classes of effects that are no structs."""
OPEN: dict[Any, Any] = {
    Any: object,
    Hashable: object,
    effects.Command | None: object,
    effects.Message: MESSAGES,
    faults.Fault: FAULTS,
}
"""Annotations that msgspec cannot check, and of which classes a value may be."""


def fields_of(kind: type) -> dict[str, Any]:
    """What is declared of each field, by its name, in order."""
    if kind in PLAIN:
        return PLAIN[kind]
    hints = get_type_hints(kind)
    return {name: hints[name] for name in kind.__struct_fields__}  # type: ignore[attr-defined]


FIELDS = {name: fields_of(kind) for name, kind in KINDS.items()}


def is_record(value: Any) -> bool:
    return KINDS.get(type(value).__name__) is type(value)


def taken_apart(record: Any) -> tuple[str, list[Any]]:
    """Its name and the values of its fields."""
    name = type(record).__name__
    return name, [getattr(record, field) for field in FIELDS[name]]


def put_together(name: Any, values: list[Any]) -> Any:
    """The record of a name. Raises ValueError for what is no such record."""
    if type(name) is not str or name not in KINDS:
        raise ValueError("not a record")
    hints = FIELDS[name]
    if len(values) != len(hints):
        raise ValueError(f"{name} has {len(hints)} fields, not {len(values)}")
    fitted = [
        fit(value, hint, f"{name}.{field}")
        for value, (field, hint) in zip(values, hints.items(), strict=True)
    ]
    kind = KINDS[name]
    if kind is effects.Persist:
        return effects.Persist(**fitted[0])
    if kind is effects.Record:
        given, called, data = fitted
        record = effects.Record(given, called)
        record.data = data
        return record
    return kind(*fitted)


def fit(value: Any, hint: Any, where: str) -> Any:
    """`value` as a field that is annotated `hint` holds it. Raises ValueError."""
    if hint in OPEN:
        if not isinstance(value, OPEN[hint]):
            raise ValueError(f"{where} cannot be {type(value).__name__}")
        if hint is Hashable:
            try:
                hash(value)
            except TypeError:
                raise ValueError(f"{where} cannot be {type(value).__name__}") from None
        return value
    if hint == tuple[raft.Entry, ...]:
        if type(value) is not tuple or any(type(item) is not raft.Entry for item in value):
            raise ValueError(f"{where} must be a tuple of entries")
        return value
    try:
        value = msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}") from None
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"{where} is not finite")
    return value
