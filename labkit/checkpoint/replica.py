"""A replica in a neighbour's memory: what one rank alone has, its right neighbour has too.

A checkpoint on a disk is the last resort; when one rank dies, what it had is still in the memory of
the next one (Z. Wang et al., "Gemini", SOSP 2023). Each rank keeps the last two states of its own
and of its left neighbour: a death in the middle of an exchange leaves the one before it whole.

    replicas = Replicas()
    replicas.save(group, step, state)          # at a safe point, by all members of the group
    …                                          # PeerLost: a new group, perhaps with a replacement
    found = replicas.recover(group)            # by all members of the new one
    if found is None: …                        # two neighbours are gone: from the disk
    else: found.step, found.states[rank]       # its own, and that of a neighbour who is gone

A rank that returns, or another process in its place, finds its own state, sent by the neighbour. Of
a rank that nobody replaces the neighbour finds it: it is for the training to share it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
import torch
from torch import Tensor

from labkit import events, faults
from labkit.checkpoint.shards import DTYPES, cuts, header
from labkit.checkpoint.snapshot import Memory, Snapshot
from labkit.checkpoint.tree import flatten, unflatten

GENERATIONS = 2
WORDS = 4096
"""Bytes in which a rank says what it has."""


class Group(Protocol):
    """What is needed of a process group (labkit.collectives.group)."""

    members: tuple[int, ...]
    rank: int  # the place among them
    link: Any

    def submit(self, task: Any, name: str) -> Any: ...

    def all_gather(self, tensor: Tensor) -> list[Tensor]: ...


class Copy(NamedTuple):
    """A state as bytes: what it is made of, and the bytes of its tensors (uint8)."""

    head: Tensor
    data: Tensor


class Found(NamedTuple):
    """States of one step by rank. Their tensors lie in the replicas' memory, which the next but one
    `save` uses again."""

    step: int
    states: dict[int, Any]


class Has(msgspec.Struct, frozen=True, array_like=True):
    """What a rank has of a step: whose states, and how many bytes each is (head, data). `members`
    are those who had one."""

    step: int
    members: tuple[int, ...]
    sizes: dict[int, tuple[int, int]]


class Replicas:
    """Belongs to the training thread; the exchange itself runs on the group's."""

    def __init__(self) -> None:
        self._has: list[Has] = []  # the newest last
        self._copies: list[dict[int, Copy]] = []
        self._rooms = [(Memory(), Memory()) for _ in range(GENERATIONS)]

    def save(self, group: Group, step: int, state: Mapping[str, Any]) -> None:
        """Copies the state, and exchanges copies with the neighbours. Raises PeerLost; then what
        was saved before is still there."""
        keep = GENERATIONS - 1  # the oldest one gives its room
        self._has, self._copies = self._has[-keep:], self._copies[-keep:]
        (own, room), *others = self._rooms
        # Should this fail, whatever the group left behind still writes goes where nobody looks.
        self._rooms = [(Memory(), Memory()), *others]
        mine = packed(state, own)
        members = tuple(group.members)
        rank, left = members[group.rank], members[group.rank - 1]
        copies = {rank: mine}
        if len(members) > 1:
            with events.span("replicating", step=step):
                copies[left] = group.submit(lambda: _pass_on(group, mine, room), "replica").wait()
        faults.point("replica.saved")
        sizes = {of: (len(copy.head), len(copy.data)) for of, copy in copies.items()}
        self._has.append(Has(step, members, sizes))
        self._copies.append(copies)
        self._rooms = [*others, (own, room)]

    def recover(self, group: Group) -> Found | None:
        """The newest step of which the members of this group have the states of all who had one;
        None when there is none: two neighbours are gone, and the disk is what is left."""
        told = _told(group, self._has)
        step = max((has.step for had in told for has in had), default=-1)
        while step >= 0 and not _complete(told, step):
            older = [has.step for had in told for has in had if has.step < step]
            step = max(older, default=-1)
        if step < 0:
            return None
        copies = dict(self._of(step))
        with events.span("recovering from memory", step=step):
            copies |= group.submit(lambda: _fetch(group, told, step, copies), "recovery").wait()
        wanted = {group.members[group.rank], *(r for r in copies if r not in group.members)}
        return Found(step, {r: unpacked(copies[r]) for r in sorted(wanted) if r in copies})

    def _of(self, step: int) -> dict[int, Copy]:
        pairs = zip(self._has, self._copies, strict=True)
        return next((copies for has, copies in pairs if has.step == step), {})


# -- on the group's thread


def _pass_on(group: Group, mine: Copy, room: Memory) -> Copy:
    """To the right, and what comes from the left: first how much it is."""
    link = group.link
    lengths, theirs = torch.tensor([len(mine.head), len(mine.data)]), torch.zeros(2).long()
    link.transfer([(lengths, link.right)], [(theirs, link.left)]).wait()
    head, data = theirs.tolist()
    copy = Copy(torch.empty(head, dtype=torch.uint8), room.room(data))
    link.transfer(
        [(mine.head, link.right), (mine.data, link.right)],
        [(copy.head, link.left), (copy.data, link.left)],
    ).wait()
    return copy


def _fetch(
    group: Group, told: list[list[Has]], step: int, copies: Mapping[int, Copy]
) -> dict[int, Copy]:
    """Who is here and does not have its own state gets it from who has."""
    me, sends, receives = group.rank, [], []
    found: dict[int, Copy] = {}
    for place, rank in enumerate(group.members):
        having = {at: _sizes(had, step) for at, had in enumerate(told)}
        if rank in having[place]:
            continue
        holder = next((at for at, sizes in having.items() if rank in sizes), None)
        if holder is None:
            continue  # it had none: it is new
        if holder == me:
            sends += [(part, place) for part in copies[rank]]
        elif place == me:
            head, data = having[holder][rank]
            found[rank] = Copy(
                torch.empty(head, dtype=torch.uint8), torch.empty(data, dtype=torch.uint8)
            )
            receives += [(part, holder) for part in found[rank]]
    if sends or receives:
        group.link.transfer(sends, receives).wait()
    return found


def _told(group: Group, mine: list[Has]) -> list[list[Has]]:
    """What each member has, by its place."""
    words = msgspec.json.encode(mine)
    if len(words) > WORDS:
        raise ValueError(f"{len(group.members)} ranks do not fit into {WORDS} bytes")
    padded = torch.tensor(list(words.ljust(WORDS)), dtype=torch.uint8)
    rows = group.all_gather(padded)
    return [msgspec.json.decode(bytes(row.tolist()), type=list[Has]) for row in rows]


def _sizes(had: list[Has], step: int) -> dict[int, tuple[int, int]]:
    return next((has.sizes for has in had if has.step == step), {})


def _complete(told: list[list[Has]], step: int) -> bool:
    having = [has for had in told for has in had if has.step == step]
    return {r for has in having for r in has.members} <= {r for has in having for r in has.sizes}


# -- bytes


def packed(state: Mapping[str, Any], memory: Memory) -> Copy:
    """As in a shard: a header in the form of safetensors, and the bytes behind it."""
    tensors, plain = flatten(state)
    snapshot = Snapshot(cuts(tensors), {}, memory)
    snapshot.copy()
    parts = [cut.part("", "") for cut in snapshot.cuts]
    head = header(parts, {"plain": msgspec.json.encode(plain).decode()})
    return Copy(torch.frombuffer(bytearray(head), dtype=torch.uint8), snapshot.copied)


def unpacked(copy: Copy) -> Any:
    described = msgspec.json.decode(bytes(copy.head.numpy())[8:])
    plain = msgspec.json.decode(described.pop("__metadata__")["plain"])
    tensors = {}
    for name, entry in described.items():
        begin, end = entry["data_offsets"]
        tensors[name] = copy.data[begin:end].view(DTYPES[entry["dtype"]]).view(entry["shape"])
    return unflatten(tensors, plain)
