"""Three-phase commit (D. Skeen, "Nonblocking Commit Protocols", SIGMOD 1981), which does not block
when the coordinator dies, and which a partition breaks.

Between the votes and the commit stands a third phase: all are told that all have voted yes, and
only when everybody knows that may anybody commit. So *nobody commits while somebody who lives is
uncertain*: if all who are left are uncertain, nobody can have committed, and they may abort without
asking the dead (termination protocol: Bernstein, Hadzilacos and Goodman 1987, §7.5).

All of it rests on one assumption: who does not answer within two message delays is dead. Across a
partition the silent live, and decide for themselves by the same rule.

To be read in this order: `messages`, `phases`, and `termination`.
"""

from labkit.protocols.three_phase_commit.messages import (
    ABORTED,
    COMMITTED,
    PRECOMMITTED,
    UNCERTAIN,
    PreCommit,
    PreCommitted,
    State,
    StateRequest,
)
from labkit.protocols.three_phase_commit.termination import ThreePhaseCommit

__all__ = [
    "ABORTED",
    "COMMITTED",
    "PRECOMMITTED",
    "UNCERTAIN",
    "PreCommit",
    "PreCommitted",
    "State",
    "StateRequest",
    "ThreePhaseCommit",
]
