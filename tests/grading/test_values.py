"""What crosses the wall of a jail, and what does not."""

import enum
import math
import socket
import struct
import threading

import msgspec
import numpy as np
import pytest
import torch

from labkit.check import difference
from labkit.faults import LEADER, At, Kill, Partition, Pause
from labkit.grading.inside.channel import LIMIT, Channel, Ended, Garbled, Late
from labkit.grading.inside.records import FIELDS, KINDS
from labkit.grading.inside.values import DEPTH, HASHED, pack, unpack
from labkit.protocols.effects import Persist, Record, Send, SetTimer, Splice, Stored
from labkit.protocols.raft.messages import AppendEntries, Entry, Vote


def crossed(value):
    return unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(pack(value))))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -(2**63), 2**63, 10**50, 0.1, -math.inf, "é\x00", b"\xff"),
        *([], (), {}, set(), [1, (2, [3.0])], {1: "a", (2, "b"): None}, {1, "a"}),
    ],
)
def test_a_value_comes_back_as_what_it_was(value):
    got = crossed(value)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6, dtype=torch.int16).view(2, 3).t(),
        torch.tensor([float("nan"), -0.0], dtype=torch.bfloat16),
        torch.empty(0, 4, dtype=torch.float64),
        torch.tensor(True),
    ],
)
def test_a_tensor_keeps_its_bits_shape_and_type(tensor):
    got = crossed(tensor)
    assert (got.shape, got.dtype) == (tensor.shape, tensor.dtype)
    assert difference(tensor.float(), got.float()) is None
    got.zero_()  # its memory may be written


def test_arrays_and_their_numbers_cross():
    array = crossed(np.arange(4.0).reshape(2, 2)[:, ::-1])
    assert array.tolist() == [[1.0, 0.0], [3.0, 2.0]]
    assert crossed(np.float32(0.5)) == 0.5
    assert type(crossed(np.int64(3))) is int


@pytest.mark.parametrize(
    "record",
    [
        At(Partition(((0, 1), (2,))), seconds=2.5),
        [At(Pause(LEADER), seconds=0.0), At(Kill(1), step=3)],
        Send(2, Vote(3, True)),
        Send(2, AppendEntries(3, 1, 1, (Entry(2, "a"), Entry(3, None)), 1, 7)),
        Persist(term=3, log=Splice(4, (Entry(3, "b"),)), prepared=(1, 2)),
        Record("role", "becomes leader", term=3),
        SetTimer("votes_due", 0.5, (1, "a")),
        Stored(2, [Entry(1, None)]),
    ],
)
def test_faults_effects_and_messages_cross(record):
    got = crossed(record)
    assert got == record
    assert type(got) is type(record)


def test_every_kind_of_record_has_a_name_of_its_own():
    assert len(KINDS) == len(FIELDS) > 40


class Rigged(float):
    def __eq__(self, other):
        return True

    __hash__ = float.__hash__


class Harder(Kill, frozen=True):
    """A subclass, which could compare as it likes."""


Impostor = type("Kill", (msgspec.Struct,), {"__annotations__": {"rank": int}})


class Colour(enum.IntEnum):
    RED = 1


holds_itself: list = []
holds_itself.append(holds_itself)


@pytest.mark.parametrize(
    "value",
    [Rigged(1), Colour.RED, [Rigged(1)], {"a": Rigged(1)}, object(), len, holds_itself, 1j,
     np.array([object()]), Harder(1), Impostor(1), [At(Harder(1), seconds=1.0)],
     torch.eye(2).to_sparse(), type("list", (list,), {})()],
)  # fmt: skip
def test_what_is_not_plain_does_not_cross(value):
    with pytest.raises((TypeError, ValueError)):
        pack(value)


deep: list = []
for _ in range(DEPTH + 1):
    deep = [deep]


@pytest.mark.parametrize(
    "tree",
    [
        {"a": 1},
        {},
        {"tuple": [1], "dict": []},
        {"tuple": 1},
        {"dict": [[[1], 2]]},
        {"dict": [1]},
        {"set": [[1]]},
        {"set": list(range(HASHED + 1))},
        {"int": "9" * 5000},
        {"int": "x"},
        {"tensor": ["float32", [2], b"1234"]},
        {"tensor": ["float32", [-1], b"1234"]},
        {"tensor": ["float32", [1 << 40], b""]},
        {"tensor": ["object", [1], b"12345678"]},
        {"array": ["O", [1], b"12345678"]},
        {"array": ["float32", [1], "1234"]},
        {"link": [0, 0, 2]},
        {"record": ["Kill", []]},
        {"record": ["Kill", [1, 2]]},
        {"record": ["Kill", ["1"]]},
        {"record": ["Kill", [True]]},
        {"record": ["Popen", ["sh"]]},
        {"record": [["Kill"], [1]]},
        {"record": ["Kill"]},
        {"record": ["Pause", [1, math.inf]]},
        {"record": ["Pause", [1, math.nan]]},
        {"record": ["At", [{"record": ["Vote", [1, True, 0]]}, 1.0, None, None, 1, None]]},
        {"record": ["At", [{"record": ["Kill", [1]]}, None, None, None, 1, None]]},
        {"record": ["Send", [1, "hello"]]},
        {"record": ["Send", [1, {"record": ["Kill", [1]]}]]},
        {"record": ["SetTimer", ["beat", 1.0, [1]]]},
        {"record": ["Persist", [[1]]]},
        {"record": ["Persist", [{"dict": [[1, 2]]}]]},
        deep,
    ],
)
def test_what_a_liar_may_send_is_refused(tree):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, it is that and nothing else
        unpack(tree)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


@pytest.mark.parametrize(
    "sent",
    [b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x01\x90", b"\x00\x00\x00\x02\x91\x01",
     struct.pack("!I", LIMIT + 1), b"\x00\x00\x00\x03\xa2ab", b"\x00\x00\x00\x02\xa1\xff"],
)  # fmt: skip
def test_what_is_no_message_is_garbled(ends, sent):
    channel, theirs = ends
    theirs.sendall(sent)
    with pytest.raises(Garbled):
        channel.receive()


def test_a_message_that_stops_half_way_has_ended_or_is_late(ends):
    import time

    channel, theirs = ends
    theirs.sendall(b"\x00\x00\x00\x09\x91")
    channel.deadline = time.monotonic() + 0.1
    with pytest.raises(Late):
        channel.receive()
    theirs.close()
    with pytest.raises((Ended, Late)):
        channel.receive()


def test_who_does_not_read_does_not_hold_up_who_sends(ends):
    import time

    channel, _ = ends
    channel.deadline = time.monotonic() + 0.1
    with pytest.raises(Late):
        channel.send("call", bytes(LIMIT - 100))
    assert threading.active_count() >= 1
