"""Every message that crosses the lab's wire, one line each; `CODEC` knows them all.

Payloads that only cloudpickle can carry (functions, results) are opaque bytes here: they are opened
by the receiver after the connection has proved the cluster's token, never by the wire.
"""

from __future__ import annotations

from msgspec import Struct

from labkit.events import Event
from labkit.faults import At, Fault
from labkit.flight import Record
from labkit.runtime.wire import Codec
from labkit.view import Member, View


class _Message(Struct, frozen=True, tag=True, array_like=True):
    pass


# -- worker → driver


class Hello(_Message, frozen=True):
    """First words of a worker: who it is and where its peers reach it. `began`: see `courier`."""

    member: Member
    pid: int
    began: int
    host: str
    address: tuple[str, int]


class Happened(_Message, frozen=True):
    events: list[Event]


class Installed(_Message, frozen=True):
    """This rank has installed a view."""

    number: int
    members: tuple[int, ...]


class Finished(_Message, frozen=True):
    """The function returned. `tired`: this process has left too much behind to go on for long."""

    run: int
    result: bytes
    tired: bool = False


class Failed(_Message, frozen=True):
    """The function raised: `kind` is the exception's name, `error` the exception, if it pickles."""

    run: int
    kind: str
    message: str
    trace: str
    step: int | None
    error: bytes | None
    tired: bool = False


class Strike(_Message, frozen=True):
    """A planned fault that this worker reached but cannot inject by itself."""

    fault: Fault


class Inspected(_Message, frozen=True):
    """The answer to `Inspect`, also between workers."""

    record: Record


class Time(_Message, frozen=True):
    """The answer to `AskTime`: what the clock said here."""

    asked: float
    there: float


class Pong(_Message, frozen=True):
    """The answer to `Ping`: the term of the vote on views, and who leads it, if anybody is known
    to."""

    term: int
    leader: int | None


# -- driver → worker


class AskTime(_Message, frozen=True):
    """What does your clock say? `asked`: the driver's, when it sent this."""

    asked: float


class Welcome(_Message, frozen=True):
    """What a worker must know before it touches torch: `member` is who it is from now on (a spare
    had no rank), `events` is its file, if it writes one,
    `folder` has its disks, and `protocols` what is to run in its host, by name. After `silence`
    seconds a peer counts as gone. The witness, which touches no torch, has rank `world_size`. Who
    `joins` is told of a run at once, and comes into the view when its function asks for a group.
    `apart`: each rank has a host of its own, whose network does what faults say of links. `slot`
    is of `placement.Home`."""

    member: Member
    world_size: int
    backend: str
    device: str
    cuda_visible_devices: str | None
    slot: int | None
    events: str | None
    folder: str
    protocols: bytes
    silence: float | None
    joins: bool
    apart: bool


class Roster(_Message, frozen=True):
    """Who is there or on the way, and where: the launcher's knowledge, not a view."""

    members: list[tuple[Member, tuple[str, int]]]


class Start(_Message, frozen=True):
    """Run `function(worker, **arguments)` as a member of the view; in an `elastic` run, or of a
    later one. Who joins under way has no view yet."""

    run: int
    view: int
    members: tuple[int, ...]
    function: bytes
    plan: list[At]
    seed: int
    deadline: float
    elastic: bool


class Cancel(_Message, frozen=True):
    run: int


class Inject(_Message, frozen=True):
    fault: Fault


class Inspect(_Message, frozen=True):
    """What are you doing? Also between workers."""


class Ping(_Message, frozen=True):
    """Say that you are there."""


class Shutdown(_Message, frozen=True):
    pass


# -- worker ↔ worker


class PeerHello(_Message, frozen=True):
    """Who opens a connection between workers."""

    member: Member


class AmIOut(_Message, frozen=True):
    """Of a member to whom nobody speaks any more; its first words on a connection."""

    member: Member


class Excluded(_Message, frozen=True):
    """The answer: there has been a view without it."""

    view: View


class StoreRequest(_Message, frozen=True):
    """An operation on the store of `epoch`, which its owner answers when it can."""

    id: int
    epoch: str
    operation: str
    keys: tuple[str, ...]
    values: tuple[bytes, ...] = ()
    amount: int = 0


class StoreReply(_Message, frozen=True):
    id: int
    values: tuple[bytes, ...] = ()
    number: int = 0


class Left(_Message, frozen=True):
    """The function of this run is over on the sender, which has completed the `collectives` of the
    group of `view` up to that number and takes part in no other. It left because it had lost rank
    `lost`, if that is one."""

    run: int
    view: View
    collectives: int
    lost: int | None


class Regrouping(_Message, frozen=True):
    """The sender has left the group of `view`, with its `collectives` completed up to that number,
    for another: because it has lost rank `lost`, or since there is a newer view."""

    run: int
    view: View
    collectives: int
    lost: int | None


class Said(_Message, frozen=True):
    """A message between two nodes of a protocol, which are known to each other as `group`."""

    group: str
    source: int
    target: int
    payload: bytes


class Parcel(_Message, frozen=True):
    """A message between the functions that run on two ranks (`worker.send`)."""

    run: int
    clock: int
    id: str
    body: bytes


CODEC = Codec(
    (Hello | Happened | Installed | Finished | Failed | Strike | Inspected | Time | Pong)
    | (Welcome | Roster | Start | Cancel | Inject | Inspect | Ping | Shutdown | AskTime)
    | (PeerHello | AmIOut | Excluded | StoreRequest | StoreReply)
    | (Left | Regrouping | Said | Parcel)
)
