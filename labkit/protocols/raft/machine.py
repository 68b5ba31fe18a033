"""The state machine that the lab replicates: a small key–value store."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from labkit.protocols import effects


class Put(Struct, effects.Command, frozen=True, tag=True):
    """Sets a key; the result is None."""

    key: str
    value: Any


class Append(Struct, effects.Command, frozen=True, tag=True):
    """Puts `value` at the end of a key's string; the result is the string as it is then."""

    key: str
    value: str


class CompareAndSet(Struct, effects.Command, frozen=True, tag=True):
    """Sets a key if it holds `expected`; the result says whether it did."""

    key: str
    expected: Any
    value: Any


class Get(Struct, effects.Command, frozen=True, tag=True):
    """Reads a key; the result is its value, None where there is none."""

    key: str


Command = Put | Append | CompareAndSet | Get


def execute(value: Any, command: Command) -> tuple[Any, Any]:
    """The key's next value, and the command's result."""
    match command:
        case Put(_, new):
            return new, None
        case Append(_, tail):
            longer = (value or "") + tail
            return longer, longer
        case CompareAndSet(_, expected, new):
            return (new, True) if value == expected else (value, False)
        case Get():
            return value, value


def notices(command: Command, result: Any, before: Any, after: Any) -> bool:
    """Whether a call with this result, or with an unknown one (None), could be what shows that its
    key went from `before` to `after`, to which more may have been appended since."""
    match command:
        case Put():
            return False
        case CompareAndSet(_, expected, _):
            return (result is not False and _begins(expected, after)) or (
                result is False and expected == before
            )
        case Append() | Get():
            return result is not None and _begins(result, after)


def _begins(value: Any, with_: Any) -> bool:
    """Whether a value could come of another by appending to it."""
    if isinstance(value, str) and isinstance(with_ or "", str):
        return value.startswith(with_ or "")
    return bool(value == with_)


class KeyValue:
    """Deterministic: the same commands in the same order give the same state."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def apply(self, command: Any) -> Any:
        value, result = execute(self.values.get(command.key), command)
        self.values[command.key] = value
        return result

    def read(self, command: Any) -> Any:
        return self.values.get(command.key)

    def snapshot(self) -> dict[str, Any]:
        return dict(self.values)

    def restore(self, state: dict[str, Any]) -> None:
        self.values = dict(state)
