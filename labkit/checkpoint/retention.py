"""Which checkpoints stay. Pure: from what is there to what may go.

The last ones stay, to come back to after a failure; the best ones stay, to be used. The newest
never goes, nor a file that an incremental checkpoint that stays refers to. What is damaged, or is
not understood, neither counts nor goes: it is for people to look at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from labkit.checkpoint.manifest import Manifest, number_of


@dataclass(frozen=True)
class Keep:
    """The newest `last` (at least 1), and the `best` by `metric`: the smallest ones, or the
    `largest`. With last=None everything stays.

    >>> Keep(last=2, best=1, metric="test_loss")
    """

    last: int | None = None
    best: int = 0
    metric: str = "loss"
    largest: bool = False

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise ValueError(f"keep at least the last checkpoint, not the last {self.last}")
        if self.best < 0:
            raise ValueError(f"best={self.best}: keep 0 or more of the best")
        if self.best and self.last is None:
            raise ValueError(f"best={self.best}: say also how many of the last to keep, last=1 say")


def kept(manifests: Sequence[Manifest], keep: Keep) -> list[Manifest]:
    """Those that stay, oldest first."""
    ordered = sorted(manifests, key=lambda manifest: manifest.number)
    if keep.last is None:
        return ordered
    judged = [m for m in ordered if keep.metric in m.metrics]
    judged.sort(key=lambda m: m.metrics[keep.metric], reverse=keep.largest)
    stay = {m.number for m in (*ordered[-keep.last :], *judged[: keep.best])}
    return [m for m in ordered if m.number in stay]


def garbage(whole: Sequence[Manifest], names: Collection[str], keep: Keep) -> list[str]:
    """The files that may go, in the order in which they must: a manifest before what it names, so
    that after a crash in between no half checkpoint is listed.

    `whole` are the checkpoints whose files are all there, `names` every name in the folder.
    Besides what is not kept, the remains of attempts older than the newest checkpoint go: nothing
    can commit those any more.
    """
    if not whole:
        return []
    stay = kept(whole, keep)
    newest = stay[-1].number
    needed = {name for manifest in stay for name in (manifest.name, *manifest.files_needed())}
    counted = {manifest.number for manifest in whole}
    untouched = {number_of(name) for name in names if name.endswith(".manifest")} - counted
    going = [
        name
        for name in sorted(names)
        if (number := number_of(name)) is not None
        and number <= newest
        and number not in untouched
        and name not in needed
    ]
    return sorted(going, key=lambda name: not name.endswith(".manifest"))
