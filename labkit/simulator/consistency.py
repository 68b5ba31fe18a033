"""Four promises about what clients see, each as a question to a short history of puts and gets.

- *Linearizable*: there is one order of all calls that explains every result, and a call that
  returned before another began comes before it (M. Herlihy and J. Wing, TOPLAS 12(3), 1990).
- *Sequential*: there is one order of all calls that explains every result, and the calls of each
  client stand in it as it made them (L. Lamport, IEEE Trans. Computers C-28(9), 1979).
- *Causal*: each client has an order of its own, of its calls and everybody's puts, in which causes
  come before effects (M. Ahamad et al., "Causal Memory", Distributed Computing 9(1), 1995).
- *Eventual*: once nobody writes, all reads agree after a while (D. Terry et al., "Session
  Guarantees", PDIS 1994; W. Vogels, "Eventually Consistent", CACM 52(1), 2009).

The first three differ in which calls must come before which; the search for an order is the same.
It is exponential at worst: for long histories there is `labkit.simulator.linearizability`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.linearizability import Operation

LINEARIZABLE, SEQUENTIAL, CAUSAL, EVENTUAL = "linearizable", "sequential", "causal", "eventual"

Calls = Sequence[Operation]
Before = list[int]
"""For each call, which others must come before it, as bits."""


class Judgement(Struct, frozen=True):
    """`orders` prove that the promise of `model` was kept: one order of the calls, or one for each
    client. Where it was not, `reason` is a sentence."""

    model: str
    kept: bool
    orders: tuple[tuple[Operation, ...], ...] = ()
    reason: str = ""

    def __bool__(self) -> bool:
        return self.kept

    def __str__(self) -> str:
        return self.model if self.kept else f"not {self.model}: {self.reason}"


def judge(history: Calls, quiet: float = 1.0) -> dict[str, Judgement]:
    """The verdicts of all four models, by name."""
    return {
        LINEARIZABLE: linearizable(history),
        SEQUENTIAL: sequential(history),
        CAUSAL: causal(history),
        EVENTUAL: eventual(history, quiet),
    }


def linearizable(history: Calls) -> Judgement:
    before = [
        _bits(history, lambda a, b=b: a.returned is not None and a.returned < b.invoked)
        for b in history
    ]
    return _one_order(LINEARIZABLE, history, before)


def sequential(history: Calls) -> Judgement:
    return _one_order(SEQUENTIAL, history, _program_order(history))


def causal(history: Calls) -> Judgement:
    """Raises ValueError for a value that is written twice: whose effect a read is would be open."""
    before = _program_order(history)
    for i, call in enumerate(history):
        writer = _writer(history, call)
        if writer is not None:
            before[i] |= 1 << writer
    before = _closure(before)
    orders = []
    for client in sorted({call.client for call in history}):
        mine = [
            i for i, c in enumerate(history) if c.client == client or isinstance(c.command, Put)
        ]
        order, stuck = _arrange(history, before, mine)
        if stuck is not None:
            who = f"no order that client {client} could see, with causes before effects,"
            return Judgement(CAUSAL, False, reason=_reason(history, order, stuck, who))
        orders.append(tuple(history[i] for i in order))
    return Judgement(CAUSAL, True, tuple(orders))


def eventual(history: Calls, quiet: float) -> Judgement:
    """A read that begins `quiet` seconds after the last write of its key or later must return what
    the others then return. The definition names no time; who tests it has to.

    A history without such reads keeps the promise: it ended too early to break it.
    """
    for key in sorted({call.command.key for call in history}):
        calls = [c for c in history if c.command.key == key]
        puts = [c for c in calls if isinstance(c.command, Put)]
        gets = [c for c in calls if isinstance(c.command, Get) and c.returned is not None]
        for read in gets:
            if read.result is not None and _writer(history, read) is None:
                return Judgement(EVENTUAL, False, reason=f"{_said(read)}, which nobody wrote")
        ends = [c.invoked if c.returned is None else c.returned for c in puts]
        late = [c for c in gets if c.invoked >= max(ends, default=0.0) + quiet]
        for read in late:
            if read.result != late[-1].result:
                reason = f"{_said(read)} and {_said(late[-1])}, long after the last write"
                return Judgement(EVENTUAL, False, reason=reason)
    return Judgement(EVENTUAL, True)


# -- the search


def _arrange(history: Calls, before: Before, chosen: Sequence[int]) -> tuple[list[int], int | None]:
    """An order of the chosen calls that keeps `before` and explains every result of a returned one;
    or the longest that does so far, and a call that cannot be next."""
    mask = sum(1 << i for i in chosen)
    needed = sum(1 << i for i in chosen if history[i].returned is not None)
    seen: set[tuple[int, tuple[tuple[str, Any], ...]]] = set()
    longest: list[int] = []

    def extend(placed: int, values: dict[str, Any], order: list[int]) -> list[int] | None:
        nonlocal longest
        if placed & needed == needed:
            return order
        state = placed, tuple(sorted(values.items()))
        if state in seen:
            return None
        seen.add(state)
        if len(order) > len(longest):
            longest = order
        for i in chosen:
            if placed >> i & 1 or before[i] & mask & ~placed:
                continue
            call = history[i]
            value, result = execute(values.get(call.command.key), call.command)
            if call.returned is None or result == call.result:
                found = extend(placed | 1 << i, values | {call.command.key: value}, [*order, i])
                if found is not None:
                    return found
        return None

    found = extend(0, {}, [])
    if found is not None:
        return found, None
    done = sum(1 << i for i in longest)
    left = [i for i in chosen if needed >> i & 1 and not done >> i & 1]
    ready = [i for i in left if not before[i] & mask & ~done]
    return longest, min(ready or left, key=lambda i: history[i].returned)  # type: ignore[arg-type, return-value]


def _one_order(model: str, history: Calls, before: Before) -> Judgement:
    order, stuck = _arrange(history, before, range(len(history)))
    if stuck is None:
        return Judgement(model, True, (tuple(history[i] for i in order),))
    return Judgement(model, False, reason=_reason(history, order, stuck, "no order of all calls"))


# -- what must come before what


def _program_order(history: Calls) -> Before:
    """A call that never returned comes after its client's earlier ones; but the client went on, and
    it may take effect at any time after, so it comes before nothing."""
    return [
        _bits(
            history,
            lambda a, b=b: (
                a.client == b.client and a.returned is not None and a.invoked < b.invoked
            ),
        )
        for b in history
    ]


def _writer(history: Calls, read: Operation) -> int | None:
    """Whose value a read returned; None for the value that was there at first."""
    if not isinstance(read.command, Get) or read.returned is None or read.result is None:
        return None
    key = read.command.key
    writers = [
        i
        for i, c in enumerate(history)
        if isinstance(c.command, Put) and (c.command.key, c.command.value) == (key, read.result)
    ]
    if len(writers) > 1:
        raise ValueError(f"{read.result!r} is written to {key!r} twice: whose write was read?")
    return writers[0] if writers else None


def _closure(before: Before) -> Before:
    """S. Warshall's: what comes before a cause comes before its effect."""
    before = list(before)
    for k in range(len(before)):
        for i in range(len(before)):
            if before[i] >> k & 1:
                before[i] |= before[k]
    return before


def _bits(history: Calls, chosen: Any) -> int:
    return sum(1 << i for i, call in enumerate(history) if chosen(call))


# -- sentences


def _said(call: Operation) -> str:
    command = call.command
    if isinstance(command, Put):
        return f"client {call.client} wrote {command.key} = {command.value!r}"
    return f"client {call.client} read {command.key} = {call.result!r}"


def _reason(history: Calls, order: list[int], stuck: int, which: str) -> str:
    values: dict[str, Any] = {}
    for i in order:
        command = history[i].command
        values[command.key], _ = execute(values.get(command.key), command)
    key = history[stuck].command.key
    return (
        f"{_said(history[stuck])}; {which} explains that. The longest before it has {len(order)} "
        f"calls and leaves {key} = {values.get(key)!r}"
    )
