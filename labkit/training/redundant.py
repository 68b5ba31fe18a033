"""Every logical shard is computed by two ranks: a death costs no work, a wrong result is seen.

A rank computes its own share and that of the rank before it. What it has computed it keeps until
the step is done, one row of integers a shard (`exact.py`), so any rank's copy of a shard is as good
as any other's, bit for bit. Before the sum all ranks show which shards they have, each with a
checksum:

- The first copy counts, in the order of the ranks; the sum over the ranks takes each shard once.
- After a death the collective that it broke is done again by the survivors, in a new group. They
  still have their rows, and the dead rank's share is with its neighbour: nobody computes again.
  Only what no survivor has is computed, as after the death of two neighbours, or of a rank whose
  neighbour had not yet come to its second share.
- Two copies that differ are silent corruption. A third rank computes the shard too, and the one
  that stands alone is named: of the rank's memory, of its weights or of its processor. Two that
  agree bit for bit have hardly been wrong in the same way, so it fails, and the others may go on
  as after its death: they have the right copies, and have not applied the step.

The price: twice the computation, nothing hidden behind it (all shards come first, then the sum),
and a row for each shard in memory; on the wire only 16 bytes a shard more than exact sums. Who is
slow holds up all others as before: both copies are waited for, else there were nothing to compare.
(L. Chen et al., "DRACO: Byzantine-resilient Distributed Training via Redundant Gradients", ICML
2018, with majorities in place of one more vote when it is needed.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import xxhash
from torch import Tensor, nn

from labkit.training.buckets import Bucket
from labkit.training.exact import Exact, ExactBuckets

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.training.buckets import Algorithm

Table = list[dict[int, int]]
"""For each place of the group the shards that it has, with their checksums."""


class SilentCorruption(RuntimeError):
    """Copies of a shard differ. `ranks` are those whose result stands alone, where that is `sure`,
    or else all that have one; `shards` are those in question."""

    def __init__(
        self,
        message: str,
        ranks: tuple[int, ...] = (),
        shards: tuple[int, ...] = (),
        sure: bool = False,
    ) -> None:
        super().__init__(message)
        self.ranks, self.shards, self.sure = ranks, shards, sure


@dataclass
class Kept:
    """What this rank has computed of `step`, by shard: its integers and its largest entries. It
    outlives the group in which it was computed."""

    step: int = -1
    rows: dict[int, Tensor] = field(default_factory=dict)
    peaks: dict[int, Tensor] = field(default_factory=dict)

    def turn_to(self, step: int) -> None:
        if self.step != step:
            self.step = step
            self.rows.clear()
            self.peaks.clear()


class RedundantBuckets(ExactBuckets):
    """Exact sums of which each addend is computed twice. `step` is that of the first `begin`.

    Iterating over `shards` also talks to the other ranks: it raises PeerLost, and SilentCorruption,
    at every rank alike, before anything is summed. Where only one rank is left there is one copy.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Group,
        shares: Sequence[Sequence[int]],
        algorithm: Algorithm,
        bucket_bytes: int,
        exact: Exact,
        kept: Kept,
        step: int,
    ) -> None:
        super().__init__(model, group, shares, algorithm, bucket_bytes, exact)
        before = shares[group.rank - 1] if group.size > 1 else ()
        self.plan = [*self.mine, *before]
        self.kept, self.next_step, self.first = kept, step, True
        lengths = [len(bucket.total) for bucket in self.buckets]
        ends = torch.tensor(lengths).cumsum(0).tolist()
        self.parts = {
            bucket: slice(end - length, end)
            for bucket, end, length in zip(self.buckets, ends, lengths, strict=True)
        }
        self.length = ends[-1]

    def begin(self, vote: int = 0, save: bool = False, tells: int = 0) -> None:
        super().begin(vote, save, tells)
        self.kept.turn_to(self.next_step)
        self.next_step += 1

    def shards(self) -> Iterable[int]:
        wanted = set(self.plan)
        if self.first:  # of a step that the last group broke off some shards may be there already
            self.first = False
            wanted -= set().union(*self._show())
        yield from self._compute(shard for shard in self.plan if shard in wanted)
        table = self._show()
        if disputed := differing(table):
            mine = (s for s in disputed if arbiter(table, s) == self.group.rank)
            yield from self._compute(mine)
            raise self._complain(self._show(), disputed)
        self.chosen = [s for s in self.kept.rows if first_with(table, s) == self.group.rank]

    def wait(self) -> float:
        for shard in self.chosen:
            for bucket, part in self.parts.items():
                bucket.total += self.kept.rows[shard][part]
        if self.mine:
            self._add_words(self.buckets[-1].total)
        for shard, peaks in self.kept.peaks.items():
            self.peaks[shard] = peaks
        return super().wait()

    def _compute(self, shards: Iterable[int]) -> Iterator[int]:
        for self.current in shards:
            self.row = self.buckets[0].total.new_zeros(self.length)
            yield self.current
            self.kept.rows[self.current] = self.row
            self.kept.peaks[self.current] = self.peaks[self.current].clone()

    def _show(self) -> Table:
        """Everybody's table: has it, checksum."""
        mine = torch.zeros(2, self.count, dtype=torch.int64)
        for shard, row in self.kept.rows.items():
            mine[0, shard], mine[1, shard] = 1, checksum(row)
        everyone = self.group.all_gather(mine.to(self.buckets[0].total.device))
        return [
            {s: sums[s] for s in range(self.count) if has[s]}
            for has, sums in (said.tolist() for said in everyone)
        ]

    def _complain(self, table: Table, disputed: list[int]) -> SilentCorruption:
        """Whose results stand alone; all that have one, where nobody stands alone."""
        wrong: dict[int, list[int]] = defaultdict(list)
        sure = True
        for shard in disputed:
            alone, told = outvoted(table, shard)
            sure = sure and told
            for place in alone:
                wrong[self.group.members[place]].append(shard)
        lists = {rank: ", ".join(map(str, shards)) for rank, shards in sorted(wrong.items())}
        what = "; ".join(f"rank {rank} in shards {shards}" for rank, shards in lists.items())
        advice = (
            "another two ranks agree against it: replace it, its memory or processor may be faulty"
            if sure
            else "and nobody can tell who is right: with three ranks or more a third would decide"
        )
        return SilentCorruption(
            f"step {self.kept.step + 1}: results differ, {what}; {advice}. No rank has applied it",
            tuple(sorted(wrong)),
            tuple(disputed),
            sure,
        )

    # What is added goes into the row of its shard, and no bucket starts before all rows are there.

    def _is_last_shard(self) -> bool:
        return False

    def _steps(self, bucket: Bucket) -> Tensor:
        return self.row[self.parts[bucket]]

    def _current(self) -> int:
        return self.current

    def _collect_tail(self, bucket: Bucket, loss: Tensor) -> None:
        self._add(self._steps(bucket)[-self.tail : 1 - self.tail], loss.view(1), len(self.names))


def checksum(row: Tensor) -> int:
    """64 bits of it, as a signed number."""
    digest = xxhash.xxh3_64_intdigest(row.cpu().numpy().data)
    return digest - (1 << 64) if digest >> 63 else digest


def holders(table: Table, shard: int) -> list[int]:
    return [place for place, has in enumerate(table) if shard in has]


def first_with(table: Table, shard: int) -> int:
    """The place whose copy of the shard counts."""
    return holders(table, shard)[0]


def differing(table: Table) -> list[int]:
    """The shards of which two copies differ, in ascending order."""
    found = set()
    for has in table:
        for shard, value in has.items():
            if value != table[first_with(table, shard)][shard]:
                found.add(shard)
    return sorted(found)


def arbiter(table: Table, shard: int) -> int | None:
    """The first place that does not have the shard; None where all have it."""
    return next((place for place, has in enumerate(table) if shard not in has), None)


def outvoted(table: Table, shard: int) -> tuple[list[int], bool]:
    """The places against which a majority stands, and True; or all that have it, and False."""
    places = holders(table, shard)
    ((value, votes),) = Counter(table[place][shard] for place in places).most_common(1)
    if 2 * votes <= len(places):
        return places, False
    return [place for place in places if table[place][shard] != value], True
