"""A violation told in plain English: ten lines, with what led to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from labkit.faults import Fault, Heal
from labkit.protocols.effects import Message, Persist, Record, Splice, Stored
from labkit.simulator.invariants import Violation
from labkit.simulator.recorder import Entry

LINES = 10


def tell(trace: Sequence[Entry], violation: Violation) -> str:
    """The last things that happened to the nodes that the violation names, and the violation.

    What a node says for the record, what it writes, its crashes and starts, and the faults come
    first; then, as far as there is room, the messages that were news to it last.
    """
    named = {int(rank) for rank in re.findall(r"rank (\d+)", violation.what)}
    near = [e for e in trace if e.node in named or e.node < 0 or not named]
    weighty = [entry for entry in near if _weighty(entry)]
    chosen = weighty[-(LINES - 3) :]
    messages = list(_news(e for e in near if e.what == "message"))
    room = LINES - 1 - len(chosen)
    chosen = sorted([*chosen, *messages[-room:]], key=lambda entry: entry.time)
    lines = [f"{entry.time:9.4f} s  {sentence(entry)}" for entry in chosen]
    return "\n".join(
        [*lines, f"Then {violation.name} ({violation.title}) breaks: {violation.what}"]
    )


def _news(messages: Iterable[Entry]) -> Iterator[Entry]:
    """Without those that a node has had before: some are said again until they are answered."""
    heard: list[tuple[int, int | None, Message]] = []
    for entry in messages:
        message = entry.node, entry.peer, entry.detail
        if message not in heard:
            heard.append(message)
            yield entry


def _weighty(entry: Entry) -> bool:
    return entry.what in ("fault", "crash", "start", "persist", "record")


def sentence(entry: Entry) -> str:
    """One entry of a trace as a sentence."""
    who, detail = f"rank {entry.node}", entry.detail
    match entry.what:
        case "start":
            return f"{who} starts" + (f" again, life {detail}" if detail else "")
        case "crash":
            return f"{who} crashes and loses what is not on its disk"
        case "fault":
            return _fault(detail)
        case "message":
            return f"{who} gets {brief(detail)} from rank {entry.peer}"
        case "send":
            return f"{who} sends {brief(detail)} to rank {entry.peer}"
        case "timer":
            return f"{who}: its timer {detail} runs out"
        case "persist":
            return f"{who} writes {_written(detail)} to its disk"
        case "record":
            return f"{who} {_record(detail)}"
        case _:
            return f"{who}: {detail}"


def brief(message: Message) -> str:
    """A message as `RequestVote(term=3, …)`, long sequences as their length, defaults left out."""
    names, defaults = message.__struct_fields__, message.__struct_defaults__
    usual = dict(zip(reversed(names), reversed(defaults), strict=False))
    fields = ((f, getattr(message, f)) for f in names)
    fields = ((f, value) for f, value in fields if f not in usual or value != usual[f])
    return f"{type(message).__name__}({', '.join(f'{k}={_short(v)}' for k, v in fields)})"


def _short(value: object) -> str:
    if isinstance(value, (tuple, list, dict)) and len(repr(value)) > 30:
        return f"[{len(value)} items]" if len(value) > 1 else "[1 item]"
    return repr(value)


def _fault(fault: Fault) -> str:
    return "everything heals" if isinstance(fault, Heal) else f"fault: {fault}"


def _written(persist: Persist) -> str:
    def value(x: object) -> str:
        match x:
            case Splice(start, items):
                return f"{len(items)} items from {start} on"
            case Stored(first, items):
                return f"{len(items)} items from {first} on, nothing before"
            case msgspec.Struct():
                return type(x).__name__
            case _:
                return _short(x)

    return ", ".join(f"{k} = {value(v)}" for k, v in persist.values.items())


def _record(record: Record) -> str:
    data = ", ".join(f"{k} {_short(v)}" for k, v in record.data.items())
    return " ".join(filter(None, [record.name or record.kind, f"({data})" if data else ""]))


def transcript(trace: Iterable[Entry]) -> str:
    """Everything that happened, a line each: to keep beside a test, or to compare by eye."""
    return "\n".join(f"{entry.time:9.4f}  {sentence(entry)}" for entry in trace)
