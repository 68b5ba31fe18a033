"""Messages and values as bytes, and back as what they were."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from labkit.protocols.codec import copied, decoder, encode, message_decoder, messages
from labkit.protocols.effects import Command, Effects, Message, Persist, Protocol, Record, Send
from labkit.protocols.handled import digest
from labkit.protocols.raft import Raft
from labkit.protocols.raft.machine import Append, Put
from labkit.protocols.raft.membership import Configuration
from labkit.protocols.raft.messages import AppendEntries, Entry
from labkit.protocols.raft.sessions import Request


class Note(Struct, frozen=True):
    text: str = ""


class Ping(Message, frozen=True):
    n: int
    notes: tuple[Note, ...] = ()


class Ponger(Protocol):
    def on_ping(self, sender: int, m: Ping) -> Effects:
        yield Send(sender, m)

    def on_tick(self) -> Effects:
        yield Record("tick")


def test_a_protocol_s_messages_are_those_of_its_handlers() -> None:
    assert messages(Ponger) == (Ping,)
    assert {"RequestVote", "AppendEntries", "InstallSnapshot", "RequestPreVote"} <= {
        kind.__name__ for kind in messages(Raft)
    }


@pytest.mark.parametrize("protocol", [Ponger, partial(Ponger)])
def test_messages_come_back_as_their_class(protocol: Any) -> None:
    message = Ping(3, (Note("a"), Note()))
    assert message_decoder(protocol).decode(encode(message)) == message


def test_strangers_are_refused() -> None:
    decode = message_decoder(Ponger).decode
    for strange in ({"type": "Pong"}, {"type": "Ping", "n": "3"}, [1, 2], None):
        with pytest.raises(msgspec.ValidationError):
            decode(encode(strange))


def test_commands_come_back_as_what_their_tag_names_at_any_depth() -> None:
    commands = [
        None,
        Configuration(((0, 0), (1, 17))),
        Request(1000, 7, Append("x", "7.")),
        Request(1001, 8, Put("y", {"a": [1, 2.5, b"z", None]})),
    ]
    message = AppendEntries(3, 0, 0, tuple(Entry(3, c) for c in commands), 0, 9)
    assert copied(message) == message
    assert copied(message) is not message


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="no command that is known"):
        decoder(Command).decode(encode({"type": "Nonsense"}))
    with pytest.raises(msgspec.ValidationError, match="no command that is known"):
        decoder(Command).decode(encode(3))


def test_digests_are_of_the_effects_and_of_nothing_else() -> None:
    effects = [Send(1, Ping(3)), Persist(n=1, log={"b": 1, "a": 2}), Record("note", "x", y=1)]
    again = [Send(1, Ping(3)), Persist(n=1, log={"a": 2, "b": 1}), Record("note", "x", y=1)]
    assert digest(effects) == digest(again)
    assert digest(effects) != digest(effects[:2])
    assert digest(effects) != digest([Send(1, Ping(4)), *effects[1:]])
    assert digest([]) == digest([])
