"""The cells of Raft's fault matrix: what they are kept in, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable

from raft_story import PROBE, Probe, Story

from labkit.protocols.raft.machine import Append
from labkit.protocols.raft.membership import Configuration
from labkit.protocols.raft.sessions import ClientRequest

Cell = Callable[[int], Story]
"""A story of a seed."""

CELLS: dict[tuple[str, str], Cell] = {}
MORE = Append("probe", ".")


def cell(fault: str, column: str) -> Callable[[Cell], Cell]:
    def add(story: Cell) -> Cell:
        assert (fault, column) not in CELLS
        CELLS[fault, column] = story
        return story

    return add


def voters(story: Story, i: int) -> set[int]:
    return set(story.node(i).voters)


def changes(story: Story, i: int) -> list[Configuration]:
    """The configurations in a node's log."""
    commands = [entry.command for entry in story.node(i).log]
    return [command for command in commands if isinstance(command, Configuration)]


def write_in_vain(story: Story, i: int) -> tuple[int, int]:
    """A command that a leader without a majority appends: index and term of its entry."""
    node = story.node(i)
    story.tell(i, ClientRequest(1, MORE))
    return node.last_index, node.term


def probe(story: Story) -> Probe:
    found = story.node(PROBE)
    assert isinstance(found, Probe)
    return found


def covered(story: Story, i: int, index: int) -> bool:
    """By a snapshot: which entry it was is not on the disk any more."""
    snapshot = story.sim.on_disk(i).get("snapshot")
    return snapshot is not None and snapshot.index >= index
