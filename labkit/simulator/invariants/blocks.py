"""What re-replicated blocks promise (B)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from labkit.protocols.blocks import Copy, Heartbeat, Manager
from labkit.simulator.invariants import Invariant, Violation
from labkit.simulator.simulation import Simulation


def on_disks(sim: Simulation, block: int) -> list[int]:
    """The stores that have the block on their disks, dead or alive."""
    return [i for i in sim.members[1:] if block in sim.on_disk(i).get("blocks", {})]


class NothingGone(Invariant):
    name, title = "B-S1", "a block that two disks had outlives the loss of one"

    def __init__(self) -> None:
        self.contents: dict[int, str] = {}
        self.safe: set[int] = set()

    def persisted(self, sim: Simulation, i: int, values: dict[str, Any]) -> None:
        for block, content in values.get("blocks", {}).items():
            if self.contents.setdefault(block, content) != content:
                raise Violation(
                    self,
                    f"rank {i} keeps {content!r} as block {block}, which is "
                    f"{self.contents[block]!r}",
                )
            if block not in self.safe and len(on_disks(sim, block)) > 1:
                self.safe.add(block)

    def finished(self, sim: Simulation) -> None:
        for block in sorted(self.safe):
            if not on_disks(sim, block):
                raise Violation(self, f"block {block} is on no disk any more")


class FewestFirst(Invariant):
    name, title = "B-S2", "the block with the fewest copies is copied first"
    watches = (Copy,)

    def sent(self, sim: Simulation, i: int, to: int, m: Any) -> None:
        manager = sim.node(i)
        count = Counter(block for block, _ in manager.under_way)
        count[m.block] -= 1  # without this one
        copies = {block: len(held) + count[block] for block, held in manager.holders.items()}
        for block, held in manager.holders.items():
            waits = copies[block] < copies[m.block]
            if waits and m.source in held and to not in held:
                if (block, to) in manager.under_way:
                    continue
                raise Violation(
                    self,
                    f"rank {i} has rank {to} copy block {m.block}, of which there are "
                    f"{copies[m.block]}, from rank {m.source}; of block {block} there are "
                    f"{copies[block]}",
                )


class NoDeadCopies(Invariant):
    """With a quarter of slack, for a manager whose clock is slow."""

    name, title = "B-S3", "a copy counts only while its store is heard of"
    watches = (Heartbeat,)

    def __init__(self) -> None:
        self.heard: dict[int, float] = {}

    def received(self, sim: Simulation, i: int, sender: int, m: Any) -> None:
        self.heard[sender] = sim.now

    def after(self, sim: Simulation, i: int, node: Any) -> None:
        if not isinstance(node, Manager):
            return
        limit = 1.3 * node.patience
        begin = sim.resumed(i)
        for store in sorted({store for held in node.holders.values() for store in held}):
            if sim.now - max(self.heard[store], begin) > limit:
                raise Violation(
                    self,
                    f"rank {i} counts copies of rank {store}, of which it has not heard for "
                    f"{sim.now - self.heard[store]:.2f} s",
                )


BLOCKS = (NothingGone, FewestFirst, NoDeadCopies)
