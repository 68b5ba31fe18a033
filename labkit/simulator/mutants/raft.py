"""Raft's mutants: what implementations got wrong, and the invariant that must find it."""

from __future__ import annotations

from labkit.simulator.mutants.raft_elections import ELECTIONS
from labkit.simulator.mutants.raft_replication import REPLICATION
from labkit.simulator.mutants.raft_service import SERVICE

RAFT = sorted([*ELECTIONS, *REPLICATION, *SERVICE], key=lambda mutant: mutant.id)
