"""Messages and values as bytes (msgpack), and back as what they were: the types decide.

A protocol's messages are the classes that its handlers are annotated with; a field annotated
`Command` comes back as the class that its tag names. Nothing that arrives is executed.
"""

from __future__ import annotations

from functools import cache, reduce
from inspect import signature
from operator import or_
from typing import Any, get_type_hints

import msgspec

from labkit.protocols.effects import Command, Message, handler

encode = msgspec.msgpack.Encoder().encode


def copied(message: Message) -> Message:
    """The message as its receiver gets it over a wire."""
    copy: Message = decoder(type(message)).decode(encode(message))
    return copy


@cache
def decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, dec_hook=_command)


def _command(kind: type, plain: Any) -> Any:
    if kind is not Command:
        raise NotImplementedError(f"{kind.__name__} cannot be read from bytes: use plain data")
    known = Command.known.get(str(plain.get("type"))) if isinstance(plain, dict) else None
    if known is None:
        raise msgspec.ValidationError(f"{plain!r} is no command that is known here")
    return msgspec.convert(plain, known, dec_hook=_command)


@cache
def messages(protocol: type) -> tuple[type[Message], ...]:
    """The classes of messages that a `Protocol` class handles: `on_ping(self, sender, m: Ping)`.

    Raises TypeError for a handler of messages that does not say which.
    """
    found: list[type[Message]] = []
    for name in dir(protocol):
        if name.startswith("on_"):
            act = getattr(protocol, name)
            for hint in get_type_hints(act).values():
                if isinstance(hint, type) and issubclass(hint, Message) and handler(hint) == name:
                    found.append(hint)
                    break
            else:
                if len(signature(act).parameters) == 3:
                    raise TypeError(f"{protocol.__name__}.{name}: say what it takes, as in m: Ping")
    return tuple(found)


def message_decoder(protocol: Any) -> msgspec.msgpack.Decoder[Any]:
    """Of all messages that a `Protocol` class, or a `functools.partial` of one, handles."""
    protocol = getattr(protocol, "func", protocol)
    return decoder(reduce(or_, messages(protocol), Message))
