"""What has not changed since the last checkpoint is not written again: it is referred to.

Unchanged is what has the same checksum, in the same place of the same tensor. A frozen layer, an
embedding whose rows were not touched, a buffer: yes. What an optimizer with moments trains changes
in every step, all of it. A chain of references is as good as its oldest file, so every k-th
checkpoint is full.
"""

from __future__ import annotations

from labkit.checkpoint.manifest import File, Manifest, Part
from labkit.checkpoint.shards import Cut


class Increments:
    """`every` = k: of k checkpoints the first is full. A new object begins with a full one."""

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"full_every={every}: 1 makes every checkpoint a full one")
        self.every = every
        self.count = 0  # committed since the last full one, that one included
        self.files: tuple[File, ...] = ()
        self.parts: dict[tuple[str, int, int], Part] = {}

    def unchanged(self, cut: Cut, digest: str) -> Part | None:
        """Where the last checkpoint has these bytes; None when it has not, or must not be used."""
        old = self.parts.get((cut.name, cut.start, cut.stop))
        return old if old is not None and cut.part(digest, old.file) == old else None

    def older(self, parts: list[Part], own: str) -> list[File]:
        """The files other than `own` that these parts are in."""
        needed = {part.file for part in parts} - {own}
        return [file for file in self.files if file.name in needed]

    def remember(self, made: Manifest) -> None:
        """`made` is committed: the next one may refer to it, or must be full."""
        self.count += 1
        if self.count >= self.every:
            self.forget()
        else:
            self.files = made.files
            self.parts = {(part.name, part.start, part.stop): part for part in made.parts}

    def forget(self) -> None:
        """The last one may not be the newest, and may be gone: the next one is full."""
        self.count, self.files, self.parts = 0, (), {}
