"""What keeps a group from going on: the flight records of its members, laid side by side.

Three things happen (PyTorch's `flight_recorder` analysis knows the same three): the ranks do not
call the same collective, some rank has not come to it, or all are in it and it does not end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkit.flight import Call, Record

Calls = dict[int, Call]
"""The call with one number, by rank."""

ADVICE = (
    "resume, heal or kill one that is stopped, slow or cut off: a death gives the next view, which "
    "worker.regroup() waits for"
)


def diagnose(records: Mapping[int, Record], members: Sequence[int], group: str) -> str:
    """Who called what and where, who has not come, who does not answer; and what can be done.

    `records` are those that came in, by rank; `group` is the one that does not go on.
    """
    here = {rank: records[rank] for rank in sorted(records) if records[rank].group == group}
    numbers = sorted({call.number for record in here.values() for call in record.calls})
    silent = [rank for rank in members if rank not in records]
    told: list[str] = []
    for number in numbers:
        calls = {r: call for r, record in here.items() if (call := _find(record, number))}
        if differing := _differing(number, calls):
            return "; ".join(differing)
        absent = [rank for rank in here if rank not in calls and _last(here[rank]) < number]
        if not told and (absent or silent):
            told = _waiting(number, calls)
            told += [f"rank {r} has not come to it{_doing(here[r])}" for r in absent if told]
    for rank, record in sorted(records.items()):
        if record.group != group:
            told.append(f"rank {rank} is in {record.group}{_doing(record)}")
    if silent:
        told.append(
            f"{ranks(silent)} {_verb(silent, 'does', 'do')} not answer: stopped, cut off, or a "
            "thread holds the interpreter's lock there"
        )
    return "; ".join([*(told or _all_in_it(numbers, here)), ADVICE])


def _differing(number: int, calls: Calls) -> list[str]:
    """The calls with this number, when they are not the same on all ranks."""
    kinds: dict[str, list[int]] = {}
    for rank, call in calls.items():
        kinds.setdefault(call.what, []).append(rank)
    if len(kinds) < 2:
        return []
    told = [f"{ranks(who)} called {what} at {_places(calls, who)}" for what, who in kinds.items()]
    return [f"collective {number} is not the same on all ranks: {told[0]}", *told[1:]]


def _waiting(number: int, calls: Calls) -> list[str]:
    """Those who are in a collective that others have not come to."""
    waiting = [rank for rank, call in calls.items() if call.state in ("queued", "started")]
    if not waiting:
        return []
    return [
        f"{ranks(waiting)} {_verb(waiting, 'waits', 'wait')} in collective {number}, "
        f"{calls[waiting[0]].what}, at {_places(calls, waiting)}"
    ]


def _all_in_it(numbers: Sequence[int], here: Mapping[int, Record]) -> list[str]:
    """All have called the same, and it does not end: where are the threads that carry it out?"""
    for number in numbers:
        calls = {r: call for r, record in here.items() if (call := _find(record, number))}
        stuck = [rank for rank, call in calls.items() if call.state == "started"]
        if stuck:
            at: dict[str, list[int]] = {}
            for rank in stuck:
                at.setdefault(str(here[rank].threads.get("group", "?")), []).append(rank)
            doing = ", ".join(f"{ranks(who)} at {place}" for place, who in at.items())
            return [
                f"{ranks(stuck)} {_verb(stuck, 'is', 'are')} in collective {number}, "
                f"{calls[stuck[0]].what}, and it does not end: {doing}"
            ]
    return ["all ranks answer, and none is in a collective"]


def _doing(record: Record) -> str:
    if record.over:
        return ": its function is over"
    return f": it is at {record.threads['main']}" if "main" in record.threads else ""


def _find(record: Record, number: int) -> Call | None:
    return next((call for call in record.calls if call.number == number), None)


def _last(record: Record) -> int:
    return max((call.number for call in record.calls), default=0)


def _places(calls: Calls, who: Sequence[int]) -> str:
    return " and ".join(sorted({str(calls[rank].place) for rank in who}))


def ranks(who: Sequence[int]) -> str:
    """`rank 3`, `ranks 0, 2 and 3`."""
    if len(who) == 1:
        return f"rank {who[0]}"
    return f"ranks {', '.join(map(str, who[:-1]))} and {who[-1]}"


def _verb(who: Sequence[int], one: str, many: str) -> str:
    return one if len(who) == 1 else many
