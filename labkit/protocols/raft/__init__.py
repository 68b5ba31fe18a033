"""Raft (D. Ongaro and J. Ousterhout, "In Search of an Understandable Consensus Algorithm", USENIX
ATC 2014; D. Ongaro, "Consensus: Bridging Theory and Practice", PhD thesis, Stanford 2014).

In layers that can be read one after the other, each of them Raft with one thing more: `election`,
`entries` and `log`, `snapshots`, and then what makes it fit for use: `pre_vote`, `check_quorum`,
`membership`, `transfer`, `sessions`, `reads`. Beside them stand `messages`, `machine`, what is
replicated, and `client`.
"""

from labkit.protocols.raft.election import Election
from labkit.protocols.raft.log import Log
from labkit.protocols.raft.reads import Reads as Raft

__all__ = ["Election", "Log", "Raft"]
