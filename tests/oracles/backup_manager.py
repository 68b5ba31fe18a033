"""A literal transcription of 2PCwithBTM (M. Demirbas, in the TLA+ examples), action by action: two-
phase commit with a backup that takes over from a transaction manager that has gone.

The model checker's published run, with three resource managers of which one may fail and a manager
that may fail, has 1,245 distinct states, to depth 15. Without the guard "no participant has
committed" in `can_abort` the backup aborts what is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

N = 3


class State(NamedTuple):
    rm: tuple[str, ...]  # rmState
    tm: str  # tmState
    pc: tuple[str, ...]  # of the resource managers, then of the manager, then of its backup


TM, BTM = N, N + 1
INITIAL = State(("working",) * N, "init", (*["RS"] * N, "TS", "BTS"))


def can_commit(s: State) -> bool:
    return all(rm == "prepared" for rm in s.rm) or "committed" in s.rm


def can_abort(s: State, guard: bool) -> bool:
    return ("aborted" in s.rm or "failed" in s.rm) and not (guard and "committed" in s.rm)


def resource_manager(s: State, r: int) -> Iterator[tuple[str, State]]:
    if s.pc[r] != "RS":
        return
    if s.rm[r] not in ("working", "prepared"):
        yield f"RS({r}) is done", s._replace(pc=put(s.pc, r, "Done"))
        return
    if s.rm[r] == "working":
        yield f"RS({r}) prepares", s._replace(rm=put(s.rm, r, "prepared"))
    if s.tm == "commit":
        yield f"RS({r}) commits", s._replace(rm=put(s.rm, r, "committed"))
    if s.rm[r] == "working" or s.tm == "abort":
        yield f"RS({r}) aborts", s._replace(rm=put(s.rm, r, "aborted"))
    if "failed" not in s.rm:
        yield f"RS({r}) fails", s._replace(rm=put(s.rm, r, "failed"))
    else:
        yield f"RS({r}) does nothing", s


def manager(s: State, guard: bool) -> Iterator[tuple[str, State]]:
    match s.pc[TM]:
        case "TS":
            if can_commit(s):
                yield "TS: it can commit", s._replace(pc=put(s.pc, TM, "TC"))
            if can_abort(s, guard):
                yield "TS: it can abort", s._replace(pc=put(s.pc, TM, "TA"))
        case "TC":
            yield "TC", s._replace(tm="commit", pc=put(s.pc, TM, "F1"))
        case "TA":
            yield "TA", s._replace(tm="abort", pc=put(s.pc, TM, "F2"))
        case "F1" | "F2" as label:
            yield label, s._replace(tm="hidden", pc=put(s.pc, TM, "Done"))


def backup(s: State, guard: bool) -> Iterator[tuple[str, State]]:
    match s.pc[BTM]:
        case "BTS":
            if can_commit(s) and s.tm == "hidden":
                yield "BTS: it can commit", s._replace(pc=put(s.pc, BTM, "BTC"))
            if can_abort(s, guard) and s.tm == "hidden":
                yield "BTS: it can abort", s._replace(pc=put(s.pc, BTM, "BTA"))
        case "BTC":
            yield "BTC", s._replace(tm="commit", pc=put(s.pc, BTM, "Done"))
        case "BTA":
            yield "BTA", s._replace(tm="abort", pc=put(s.pc, BTM, "Done"))


def steps(s: State, guard: bool) -> Iterator[tuple[str, State]]:
    yield from manager(s, guard)
    yield from backup(s, guard)
    for r in range(N):
        yield from resource_manager(s, r)
    if all(label == "Done" for label in s.pc):
        yield "Terminating", s


def successors(guard: bool = True) -> Callable[[State], Iterator[tuple[str, State]]]:
    return partial(steps, guard=guard)


def put(values: tuple[str, ...], i: int, value: str) -> tuple[str, ...]:
    return (*values[:i], value, *values[i + 1 :])


def inconsistent(s: State) -> str:
    """Consistency, negated."""
    both = "committed" in s.rm and "aborted" in s.rm
    return f"one has committed, another has aborted: {s.rm}" if both else ""
