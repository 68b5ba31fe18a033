"""A literal transcription of TCommit (Gray and Lamport 2006): what atomic commit is, with no word
about how it is done. The model checker's published run, with three resource managers, has 34
distinct states of 94 generated, to depth 7."""

from __future__ import annotations

from collections.abc import Iterator

State = tuple[str, ...]
"""rmState."""


def initial(n: int) -> State:
    return ("working",) * n


def can_commit(s: State) -> bool:
    return all(rm in ("prepared", "committed") for rm in s)


def not_committed(s: State) -> bool:
    return "committed" not in s


def successors(s: State) -> Iterator[tuple[str, State]]:
    for r, rm in enumerate(s):
        if rm == "working":
            yield f"Prepare({r})", put(s, r, "prepared")
        if rm == "prepared" and can_commit(s):
            yield f"Decide({r}): commit", put(s, r, "committed")
        if rm in ("working", "prepared") and not_committed(s):
            yield f"Decide({r}): abort", put(s, r, "aborted")


def put(s: State, r: int, value: str) -> State:
    return (*s[:r], value, *s[r + 1 :])
