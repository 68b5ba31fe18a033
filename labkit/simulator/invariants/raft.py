"""What Raft promises, checked after every event: the paper's figure 3, and what follows from it.

They see every node, every disk and the wire, and remember the whole history: two leaders of one
term are a violation also when they lead one after the other. Each looks only at what the event may
have changed, so that a message costs a few microseconds with all of them on.
"""

from __future__ import annotations

from labkit.simulator.invariants import Invariant
from labkit.simulator.invariants.raft_liveness import (
    Budget,
    RejoinsQuietly,
    StepsDown,
    TransferEnds,
)
from labkit.simulator.invariants.raft_log import (
    CommitRule,
    CommitsAll,
    LeaderAppendOnly,
    LeaderCompleteness,
    LogRules,
    NextIndex,
    OneAtATime,
    Replication,
    StateMachineSafety,
)
from labkit.simulator.invariants.raft_terms import (
    DurableAnswers,
    ElectionSafety,
    Monotone,
    OneVote,
    Persistent,
    PreVoteIsFree,
)

INVARIANTS: tuple[type[Invariant], ...] = (
    *(ElectionSafety, LeaderAppendOnly, LogRules, LeaderCompleteness, StateMachineSafety),
    *(Monotone, OneVote, DurableAnswers, CommitRule, Replication, NextIndex, Persistent),
    *(CommitsAll, OneAtATime, PreVoteIsFree, RejoinsQuietly, StepsDown, TransferEnds, Budget),
)
