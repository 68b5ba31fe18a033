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
`recover_all` sends the states of all to all, for a training that cuts its state anew in every view
(`labkit.training.zero`). Who leaves in good order bequeaths its state first: so may any number.

What is saved after a recovery goes back to what was recovered, also where some had come to a later
step that not all had complete. So the newest state is of the newest *epoch*, the time between two
recoveries, and there of the latest step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor: ...


Message = tuple[Tensor, int]
"""A tensor in memory, and the place of the other rank."""


class Copy(NamedTuple):
    """A state as bytes: what it is made of, and the bytes of its tensors (uint8)."""

    head: Tensor
    data: Tensor


class Found(NamedTuple):
    """States of one step by rank. Their tensors lie in the replicas' memory, which the next but one
    `save` uses again."""

    step: int
    states: dict[int, Any]


When = tuple[int, int]
"""The epoch, and a step in it."""


class Has(msgspec.Struct, frozen=True, array_like=True):
    """What a rank has of a step: whose states, and how many bytes each is (head, data). `members`
    are those who had one."""

    when: When
    members: tuple[int, ...]
    sizes: dict[int, tuple[int, int]]


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a rank says of itself before a recovery."""

    epoch: int
    has: list[Has]


class Kept(NamedTuple):
    """The states of one step that this rank has, its own and its neighbour's; where they lie."""

    when: When
    members: tuple[int, ...]
    copies: dict[int, Copy]
    rooms: tuple[Memory, Memory]

    def described(self) -> Has:
        sizes = {of: (len(copy.head), len(copy.data)) for of, copy in self.copies.items()}
        return Has(self.when, self.members, sizes)


class Replicas:
    """Belongs to the training thread; the exchange itself runs on the group's."""

    def __init__(self) -> None:
        self._kept: list[Kept] = []  # the newest last
        self._epoch = 0

    def save(self, group: Group, step: int, state: Mapping[str, Any]) -> None:
        """Copies the state, and exchanges copies with the neighbours. Raises PeerLost; then what
        was saved before is still there. Between two of them all members must have heard of all (as
        in a step's all-reduce), or one could be two ahead of another."""
        full = len(self._kept) == GENERATIONS  # then the oldest gives its room
        # Should this fail, whatever the group left behind still writes goes where nobody looks.
        rooms = self._kept.pop(0).rooms if full else (Memory(), Memory())
        mine = packed(state, rooms[0])
        members = tuple(group.members)
        copies = {members[group.rank]: mine}
        if len(members) > 1:
            left = members[group.rank - 1]
            with events.span("replicating", step=step):
                task = group.submit(lambda: _pass_on(group.link, mine, rooms[1]), "replica")
                copies[left] = task.wait()
        faults.point("replica.saved")
        self._kept.append(Kept((self._epoch, step), members, copies, rooms))

    def bequeath(self, group: Group, leaves: bool) -> None:
        """After a `save`: the newest state of each member that `leaves` goes to all the others.
        Raises PeerLost."""
        device = group.link.device
        newest = self._kept[-1]
        own = newest.copies[group.members[group.rank]]
        mine = torch.tensor([leaves, len(own.head), len(own.data)], device=device)
        for place, (goes, *sizes) in enumerate(w.tolist() for w in group.all_gather(mine)):
            if goes:
                rank = group.members[place]
                newest.copies[rank] = _broadcast(group, place, newest.copies.get(rank), sizes)

    def recover(self, group: Group) -> Found | None:
        """The newest step of which the members of this group have the states of all who had one;
        None when there is none: two neighbours are gone, and the disk is what is left."""
        told, when = self._agree(group)
        if when is None:
            return None
        copies = dict(self._kept[-1].copies) if self._kept else {}
        with events.span("recovering from memory", step=when[1]):
            copies |= group.submit(lambda: _fetch(group, told, when, copies), "recovery").wait()
        wanted = {group.members[group.rank], *(r for r in copies if r not in group.members)}
        return Found(when[1], {r: unpacked(copies[r]) for r in sorted(wanted) if r in copies})

    def recover_all(self, group: Group) -> Iterator[Any]:
        """The same, and all members get the states of all, one after the other; no state where
        `recover` finds none. Raises PeerLost."""
        told, when = self._agree(group)
        if when is None:
            return
        mine = self._kept[-1].copies if self._kept else {}
        having = [_sizes(had, when) for had in told]
        with events.span("recovering from memory", step=when[1]):
            for rank in sorted(set().union(*having)):
                holder = next(place for place, sizes in enumerate(having) if rank in sizes)
                yield unpacked(_broadcast(group, holder, mine.get(rank), having[holder][rank]))

    def _agree(self, group: Group) -> tuple[list[list[Has]], When | None]:
        """What each member has, by its place, and what is the newest that they have complete. What
        else this rank has is of no use any more: fewer members will not have more of it."""
        everyone = _told(group, Told(self._epoch, [kept.described() for kept in self._kept]))
        self._epoch = 1 + max(one.epoch for one in everyone)
        told = [one.has for one in everyone]
        every = sorted({has.when for had in told for has in had}, reverse=True)
        newest = next((when for when in every if _complete(told, when)), None)
        self._kept = [kept for kept in self._kept if kept.when == newest]
        return told, newest


# -- on the group's thread


def _pass_on(link: Any, mine: Copy, room: Memory) -> Copy:
    """To the right, and what comes from the left: first how much it is."""
    lengths, theirs = torch.tensor([len(mine.head), len(mine.data)]), torch.zeros(2).long()
    _transfer(link, [(lengths, link.right)], [(theirs, link.left)])
    head, data = theirs.tolist()
    copy = Copy(torch.empty(head, dtype=torch.uint8), room.room(data))
    _transfer(
        link,
        [(mine.head, link.right), (mine.data, link.right)],
        [(copy.head, link.left), (copy.data, link.left)],
    )
    return copy


def _transfer(link: Any, sends: list[Message], receives: list[Message]) -> None:
    """Of tensors in memory: NCCL sends and receives on its device alone."""
    there = [(tensor.to(link.device), source) for tensor, source in receives]
    link.transfer([(tensor.to(link.device), to) for tensor, to in sends], there).wait()
    for (tensor, _), (filled, _) in zip(receives, there, strict=True):
        tensor.copy_(filled)


def _fetch(
    group: Group, told: list[list[Has]], when: When, copies: Mapping[int, Copy]
) -> dict[int, Copy]:
    """Who is here and does not have its own state gets it from who has."""
    me, sends, receives = group.rank, [], []
    found: dict[int, Copy] = {}
    for place, rank in enumerate(group.members):
        having = {at: _sizes(had, when) for at, had in enumerate(told)}
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
        _transfer(group.link, sends, receives)
    return found


# -- on the training thread


def _broadcast(group: Group, holder: int, copy: Copy | None, sizes: Sequence[int]) -> Copy:
    """What the member at place `holder` has, at all."""
    if copy is None:
        copy = Copy(*(torch.empty(size, dtype=torch.uint8) for size in sizes))
    device = group.link.device
    return Copy(*(group.broadcast(part.to(device), holder).cpu() for part in copy))


def _told(group: Group, mine: Told) -> list[Told]:
    """What each member has, by its place."""
    words = msgspec.json.encode(mine)
    if len(words) > WORDS:
        raise ValueError(f"{len(group.members)} ranks do not fit into {WORDS} bytes")
    padded = torch.tensor(list(words.ljust(WORDS)), dtype=torch.uint8, device=group.link.device)
    rows = group.all_gather(padded)
    return [msgspec.json.decode(bytes(row.tolist()), type=Told) for row in rows]


def _sizes(had: list[Has], when: When) -> dict[int, tuple[int, int]]:
    return next((has.sizes for has in had if has.when == when), {})


def _complete(told: list[list[Has]], when: When) -> bool:
    having = [has for had in told for has in had if has.when == when]
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
