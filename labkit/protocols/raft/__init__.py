"""Raft, in layers that can be read one after the other: `election`, `log`, then what makes it fit
for use: `pre_vote`, `check_quorum`, `membership`, `transfer`, `sessions`, `reads`."""

from labkit.protocols.raft.election import Election
from labkit.protocols.raft.log import Log
from labkit.protocols.raft.reads import Reads as Raft

__all__ = ["Election", "Log", "Raft"]
