"""Checkpoints: the whole state of a training, durable, as a whole or not at all.

Read in this order: `state.py` (what is saved), `fingerprints.py` (of which training), `tree.py` and
`shards.py` (as which bytes), `files.py` (how a file comes to be there), `manifest.py` (how many
files come to be there at once), `store.py` (a folder of them), `attempts.py` (those that are not
one yet), `load.py` and `retention.py`; then `snapshot.py` and `background.py` (how training hardly
notices), and `replica.py` (a copy in a neighbour's memory). How many ranks come to commit one is
told in `labkit.protocols.checkpoints` and `labkit.runtime.committer`.
"""

from __future__ import annotations

from labkit.checkpoint.fingerprints import fingerprint
from labkit.checkpoint.folder import CheckpointFailed
from labkit.checkpoint.load import Loaded, NoGoodCheckpoint
from labkit.checkpoint.lock import Locked
from labkit.checkpoint.manifest import BadCheckpoint, Made, Manifest
from labkit.checkpoint.retention import Keep
from labkit.checkpoint.state import MissingPiece, Progress, Random, capture, restore
from labkit.checkpoint.store import Store

__all__ = [
    "BadCheckpoint",
    "CheckpointFailed",
    "Keep",
    "Loaded",
    "Locked",
    "Made",
    "Manifest",
    "MissingPiece",
    "NoGoodCheckpoint",
    "Progress",
    "Random",
    "Store",
    "capture",
    "fingerprint",
    "restore",
]
