"""Is a history linearizable? Each call must seem to take effect at one moment between its
invocation and its return (M. Herlihy and J. Wing, TOPLAS 1990).

The search is J. Wing and C. Gong's (JPDC 1993): take any call that began before the first return of
those that are left, and see whether its result is what the model gives. G. Lowe's memo (CCPE 2017)
makes it fast: a set of calls that led to the same state once led nowhere again. A history is
linearizable if the part of each key is (Herlihy and Wing's locality), so each key is searched
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from msgspec import Struct


class Operation(Protocol):
    """A call as a client saw it; `returned` is None while nobody knows whether it took effect."""

    client: int
    command: Any
    invoked: float
    returned: float | None
    result: Any


Step = Callable[[Any, Any], tuple[Any, Any]]
"""`step(value, command)` gives a key's next value and the command's result."""


class Verdict(Struct, frozen=True):
    """`order` is a proof: the calls in an order that explains every result. Without one, `reason`
    says which call of which key cannot be explained."""

    linearizable: bool
    order: tuple[Any, ...] = ()
    reason: str = ""

    def __bool__(self) -> bool:
        return self.linearizable

    def __str__(self) -> str:
        return "linearizable" if self.linearizable else f"not linearizable: {self.reason}"


def check(history: Iterable[Operation], step: Step, initial: Any = None) -> Verdict:
    """The verdict on a history of calls whose commands have a `key`; values must be hashable.

    A call that never returned may have taken effect at any time after its invocation, or never.
    """
    keys: dict[Any, list[Operation]] = {}
    for call in history:
        keys.setdefault(call.command.key, []).append(call)
    order: list[Operation] = []
    for key, calls in sorted(keys.items()):
        # A read that never returned says nothing, and changes nothing: the model need not try it.
        placed, stuck = _search(calls, step, initial)
        if stuck is not None:
            return Verdict(False, reason=_reason(key, stuck, placed, step, initial))
        order += placed
    return Verdict(True, tuple(order))


class _Event:
    """A call's invocation or return, in a doubly linked list ordered by time."""

    __slots__ = ("before", "call", "match", "next", "number")

    def __init__(self, call: Operation, number: int) -> None:
        self.call, self.number = call, number
        self.match: _Event | None = None  # an invocation's return
        self.next: _Event | None = None
        self.before: _Event | None = None


def _events(calls: list[Operation]) -> _Event:
    """The head of the list. At equal times invocations come first: such calls overlap."""
    marks: list[tuple[float, int, _Event]] = []
    for number, call in enumerate(calls):
        begin, end = _Event(call, number), _Event(call, number)
        begin.match = end
        marks.append((call.invoked, 0, begin))
        marks.append((float("inf") if call.returned is None else call.returned, 1, end))
    head = last = _Event(calls[0], -1)
    for _, _, event in sorted(marks, key=lambda mark: mark[:2]):
        last.next, event.before = event, last
        last = event
    return head


def _lift(begin: _Event) -> None:
    """Takes a call, both its ends, out of the list: it has been placed."""
    for event in (begin, begin.match):
        assert event is not None
        assert event.before is not None  # the head is never lifted
        event.before.next = event.next
        if event.next is not None:
            event.next.before = event.before


def _put_back(begin: _Event) -> None:
    for event in (begin.match, begin):
        assert event is not None
        assert event.before is not None
        event.before.next = event
        if event.next is not None:
            event.next.before = event


def _search(
    calls: list[Operation], step: Step, initial: Any
) -> tuple[list[Operation], Operation | None]:
    """The calls in a possible order; or as many as could be placed, and the call that could not."""
    head = _events(calls)
    value, placed = initial, 0  # the set of the calls that are placed, as bits
    path: list[tuple[_Event, Any, int]] = []
    seen = {(placed, value)}
    longest: list[Operation] = []
    stuck = calls[0]
    event = head.next
    while head.next is not None:
        assert event is not None  # a return ends every walk along the list
        if event.match is not None:
            call = event.call
            after, result = step(value, call.command)
            more = placed | 1 << event.number
            possible = call.returned is None or result == call.result
            if possible and (more, after) not in seen:
                seen.add((more, after))
                path.append((event, value, placed))
                value, placed = after, more
                _lift(event)
                event = head.next
            else:
                event = event.next
            continue
        if event.call.returned is None:
            break  # all that returned are placed: the others may never have happened
        if len(path) >= len(longest):
            longest, stuck = [e.call for e, _, _ in path], event.call
        if not path:
            return longest, stuck
        event, value, placed = path.pop()
        _put_back(event)
        event = event.next
    return [e.call for e, _, _ in path], None


def _reason(key: Any, stuck: Operation, placed: list[Operation], step: Step, value: Any) -> str:
    for call in placed:
        value, _ = step(value, call.command)
    return (
        f"client {stuck.client}'s {stuck.command} returned {stuck.result!r} at "
        f"{stuck.returned:.4f} s; no order of the calls on {key!r} explains that "
        f"({len(placed)} of them can be placed before it, which leave {value!r})"
    )
