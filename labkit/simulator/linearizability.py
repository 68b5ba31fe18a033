"""Is a history linearizable? Each call must seem to take effect at one moment between its
invocation and its return (M. Herlihy and J. Wing, TOPLAS 1990).

The search is J. Wing and C. Gong's (JPDC 1993): take any call that began before the first return of
those that are left, and see whether its result is what the model gives. G. Lowe's memo (CCPE 2017)
makes it fast: a set of calls that led to the same state once led nowhere again. A history is
linearizable if the part of each key is (Herlihy and Wing's locality), so each key is searched
alone.

Calls that never returned are what makes it slow: any of them may have happened at any later time,
or never, so that k of them have more than k! orders. If there is an order, then there is one with
the fewest of them, and only such orders are looked for: every unknown call in it makes a difference
that some other call shows; and of equal unknown calls the one that began first comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

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

Notices = Callable[[Any, Any, Any, Any], bool]
"""`notices(command, result, before, after)`: whether a call with that result could be what shows
that the key went from the value `before` to the value `after`. In doubt it is true."""


class Verdict(Struct, frozen=True):
    """`order` is a proof: the calls in an order that explains every result. Without one, `stuck`
    is the call that no order explains, and `reason` a sentence about it."""

    linearizable: bool
    order: tuple[Any, ...] = ()
    reason: str = ""
    stuck: Any = None

    def __bool__(self) -> bool:
        return self.linearizable

    def __str__(self) -> str:
        return "linearizable" if self.linearizable else f"not linearizable: {self.reason}"


def _in_doubt(command: Any, result: Any, before: Any, after: Any) -> bool:
    return True


def check(
    history: Iterable[Operation], step: Step, initial: Any = None, notices: Notices = _in_doubt
) -> Verdict:
    """The verdict on a history of calls whose commands have a `key`; values and commands must be
    hashable.

    A call that never returned may have taken effect at any time after its invocation, or never.
    Where there are many of them, `notices` saves the time that it takes to try them all.
    """
    keys: dict[Any, list[Operation]] = {}
    for call in history:
        keys.setdefault(call.command.key, []).append(call)
    order: list[Operation] = []
    for key, calls in sorted(keys.items()):
        placed, stuck = _search(calls, step, initial, notices)
        if stuck is not None:
            return Verdict(False, (), _reason(key, stuck, placed, step, initial), stuck)
        order += placed
    return Verdict(True, tuple(order))


class _Event:
    """A call's invocation or return, in a doubly linked list ordered by time."""

    __slots__ = ("before", "bit", "call", "match", "next", "twin")

    def __init__(self, call: Operation, bit: int = 0) -> None:
        self.call, self.bit = call, bit  # the bit stands for the call in sets of calls
        self.match: _Event | None = None  # an invocation's return
        self.twin = 0  # of an unknown call: the bit of the equal one before it
        self.next: _Event | None = None
        self.before = self  # only the head stays so, and it is never lifted


def _events(calls: list[Operation]) -> _Event:
    """The head of the list. At equal times invocations come first: such calls overlap."""
    marks: list[tuple[float, int, _Event]] = []
    for number, call in enumerate(calls):
        begin, end = _Event(call, 1 << number), _Event(call)
        begin.match = end
        assert call.returned is not None
        marks += [(call.invoked, 0, begin), (call.returned, 1, end)]
    head = last = _Event(marks[0][2].call if marks else None)  # type: ignore[arg-type]
    for _, _, event in sorted(marks, key=lambda mark: mark[:2]):
        last.next, event.before = event, last
        last = event
    return head


def _lift(begin: _Event) -> None:
    """Takes a call, both its ends, out of the list: it has been placed."""
    for event in (begin, begin.match):
        assert event is not None
        event.before.next = event.next
        if event.next is not None:
            event.next.before = event.before


def _put_back(begin: _Event) -> None:
    for event in (begin.match, begin):
        assert event is not None
        event.before.next = event
        if event.next is not None:
            event.next.before = event


def _unknown(calls: list[Operation]) -> list[_Event]:
    last: dict[Any, int] = {}  # by command
    events = []
    for number, call in enumerate(sorted(calls, key=lambda call: call.invoked)):
        event = _Event(call, 1 << number)
        event.twin = last.get(call.command, 0)
        last[call.command] = event.bit
        events.append(event)
    return events


def _candidates(head: _Event, unknown: list[_Event]) -> Iterator[_Event]:
    """The calls that may come next: all that began before the first return that is left."""
    event = head.next
    while event is not None and event.match is not None:
        yield event
        event = event.next
    assert event is not None  # a return ends every walk along the list
    assert event.call.returned is not None
    for begin in unknown:  # last, since most of them are not needed
        if begin.call.invoked <= event.call.returned:
            yield begin


class _State(NamedTuple):
    """After some calls: the key's value, the calls that returned, and the others, as bits."""

    value: Any
    placed: int
    taken: int
    before: tuple[Any, ...] = ()  # the value before the last call, if that one never returned


_Seen = dict[tuple[int, Any], list[int]]
"""By `placed` and `value`: which sets of unknown calls led there."""


_Matters = Callable[[Any, Any, int, int], bool]


def _matters(known: list[Operation], unknown: list[_Event], notices: Notices) -> _Matters:
    """Whether one of the calls that are left could show that an unknown call changed a value: in an
    order with as few unknown calls as possible each has such a call. It may be an unknown one, if
    that takes effect only on the new value."""
    noticing: dict[tuple[Any, Any], tuple[int, int]] = {}

    def bits(calls: Iterable[Operation], before: Any, after: Any) -> int:
        seen = (notices(call.command, call.result, before, after) for call in calls)
        return sum(1 << i for i, it_does in enumerate(seen) if it_does)

    def matters(before: Any, after: Any, placed: int, taken: int) -> bool:
        if (before, after) not in noticing:
            others = [event.call for event in unknown]
            noticing[before, after] = bits(known, before, after), bits(others, before, after)
        there, perhaps = noticing[before, after]
        return bool(there & ~placed or perhaps & ~taken)

    return matters


def _search(
    calls: list[Operation], step: Step, initial: Any, notices: Notices
) -> tuple[list[Operation], Operation | None]:
    """The calls in a possible order; or as many as could be placed, and the call that could not."""
    known = [call for call in calls if call.returned is not None]
    head, unknown = _events(known), _unknown([call for call in calls if call.returned is None])
    matters = _matters(known, unknown, notices)
    state, path = _State(initial, 0, 0), list[tuple[_Event, _State, Iterator[_Event]]]()
    seen: _Seen = {(0, initial): [0]}
    longest: list[Operation] = []
    stuck: Operation | None = None
    choices = _candidates(head, unknown)
    while head.next is not None:
        places = ((event, _place(event, state, step, seen, matters)) for event in choices)
        event, after = next((p for p in places if p[1] is not None), (None, None))
        if event is not None and after is not None:
            path.append((event, state, choices))
            if event.match is not None:
                _lift(event)
            state, choices = after, _candidates(head, unknown)
            continue
        if stuck is None or len(path) > len(longest):
            longest, stuck = [e.call for e, _, _ in path], _first_return(head)
        if not path:
            return longest, stuck
        event, state, choices = path.pop()
        if event.match is not None:
            _put_back(event)
    return [event.call for event, _, _ in path], None


def _place(
    event: _Event, state: _State, step: Step, seen: _Seen, matters: _Matters
) -> _State | None:
    """The state after the call; None if the result is another, or the state leads nowhere."""
    value, result = step(state.value, event.call.command)
    placed, taken = state.placed, state.taken
    if event.match is not None:
        placed |= event.bit
        if result != event.call.result:
            return None
    else:
        if taken & event.bit or event.twin & ~taken or value == state.value:
            return None
        if any(step(before, event.call.command)[0] == value for before in state.before):
            return None  # the unknown call before it made no difference
        taken |= event.bit
        if not matters(state.value, value, placed, taken):
            return None
    # Lowe's memo; and who came here with fewer of the calls that never returned had more choice.
    known = seen.setdefault((placed, value), [])
    if any(earlier & taken == earlier for earlier in known):
        return None
    known.append(taken)
    return _State(value, placed, taken, () if event.match else (state.value,))


def _first_return(head: _Event) -> Operation:
    event = head.next
    while event is not None and event.match is not None:
        event = event.next
    assert event is not None
    return event.call


def _reason(key: Any, stuck: Operation, placed: list[Operation], step: Step, value: Any) -> str:
    for call in placed:
        value, _ = step(value, call.command)
    return (
        f"client {stuck.client}'s {stuck.command} returned {stuck.result!r} at "
        f"{stuck.returned:.4f} s; no order of the calls on {key!r} explains that "
        f"({len(placed)} of them can be placed before it, which leave {value!r})"
    )
