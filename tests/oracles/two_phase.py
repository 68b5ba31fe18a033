"""A literal transcription of TwoPhase (J. Gray and L. Lamport, "Consensus on Transaction Commit",
2006, and the TLA+ examples), action by action, to try the search itself on.

The published model checker's run finds 288 distinct states with three resource managers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class State(NamedTuple):
    rm: tuple[str, ...]  # rmState
    tm: str  # tmState
    prepared: frozenset[int]  # tmPrepared
    messages: frozenset[tuple[str, int]]  # msgs; the manager's own have rm -1


def initial(n: int) -> State:
    return State(("working",) * n, "init", frozenset(), frozenset())


def successors(s: State) -> Iterator[tuple[str, State]]:
    everyone = frozenset(range(len(s.rm)))
    if s.tm == "init" and s.prepared == everyone:
        yield (
            "TMCommit",
            s._replace(tm="committed", messages=s.messages | {("Commit", -1)}),
        )
    if s.tm == "init":
        yield "TMAbort", s._replace(tm="aborted", messages=s.messages | {("Abort", -1)})
    for r in sorted(everyone):
        if s.tm == "init" and ("Prepared", r) in s.messages:
            yield f"TMRcvPrepared({r})", s._replace(prepared=s.prepared | {r})
        if s.rm[r] == "working":
            yield (
                f"RMPrepare({r})",
                s._replace(rm=put(s.rm, r, "prepared"), messages=s.messages | {("Prepared", r)}),
            )
            yield f"RMChooseToAbort({r})", s._replace(rm=put(s.rm, r, "aborted"))
        if ("Commit", -1) in s.messages:
            yield f"RMRcvCommitMsg({r})", s._replace(rm=put(s.rm, r, "committed"))
        if ("Abort", -1) in s.messages:
            yield f"RMRcvAbortMsg({r})", s._replace(rm=put(s.rm, r, "aborted"))


def put(values: tuple[str, ...], i: int, value: str) -> tuple[str, ...]:
    return (*values[:i], value, *values[i + 1 :])


def inconsistent(s: State) -> str:
    """TCConsistent, negated."""
    both = "committed" in s.rm and "aborted" in s.rm
    return f"one has committed, another has aborted: {s.rm}" if both else ""
