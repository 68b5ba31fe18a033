"""Which line of source recorded an event, found in the lab's own code.

An event carries no place: it would make each of them longer, and there are thousands a second. But
who records says the kind, and mostly the name, in so many words, so the line can be looked up.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labkit.events import DRIVER, Event

LABKIT = Path(__file__).resolve().parents[2]
SIMULATED = ("labkit/simulator/", "labkit/protocols/")
"""What protocols record is heard by either engine, and a cluster's host may say it in other words.
"""
SIGNS = {"begin": (r"\bspan\(", r"\bwork\("), "send": (r"\bSend\(", r"\bBroadcast\(")}
"""What records an event of a kind without its name: to read all of the package takes a second."""
LONG = 90
"""Letters of a line that are shown."""


@dataclass(frozen=True)
class Place:
    """A call that records `kind`, with a name that matches `name`; `literal` says how exactly."""

    file: str
    line: int
    kind: str
    name: re.Pattern[str]
    literal: int
    driver: bool  # through the driver's own log
    data: frozenset[str]  # the names of what it records besides
    text: str


def where(event: Event, simulated: bool = False) -> str:
    """`labkit/runtime/host.py:183  events.record("view", …)`, or all lines that it may be."""
    said = event.name if event.name.startswith(event.kind) else f"{event.kind} {event.name}".strip()
    if at := event.data.get("at"):
        return f"{said}: recorded at {at}{_text(str(at))}"
    found = places_of(event, simulated)
    if not found:
        return f"{said}: recorded outside of labkit's own code"
    return f"{said}: recorded at " + " or ".join(f"{p.file}:{p.line}  {p.text}" for p in found)


def _text(place: str) -> str:
    """What stands there, if it is the lab's own."""
    file, _, number = place.rpartition(":")
    text = linecache.getline(str(LABKIT.parent / file), int(number)).strip()
    return f"  {text}" if text else ""


def places_of(event: Event, simulated: bool = False) -> list[Place]:
    """Those that fit best: a name that is spelled out, then what they record besides."""
    kind = "begin" if event.kind == "end" else event.kind
    fits = [p for p in places(kind) if p.name.fullmatch(event.name)]
    best = max((p.literal for p in fits), default=0)
    for good in (
        lambda p: p.file.startswith("labkit/simulator/") <= simulated,
        lambda p: p.file.startswith(SIMULATED) == simulated,
        lambda p: p.driver == (event.rank == DRIVER),
        lambda p: p.literal == best,
        lambda p: p.data == frozenset(event.data),
    ):
        fits = [p for p in fits if good(p)] or fits
    return fits


@cache
def places(kind: str) -> tuple[Place, ...]:
    """Every call in the package that records something of this kind, spelled out."""
    sign = re.compile("|".join((f'"{kind}"', *SIGNS.get(kind, ()))))
    texts = ((file, file.read_text()) for file in sorted(LABKIT.rglob("*.py")))
    found = (_places(file, text, kind) for file, text in texts if sign.search(text))
    return tuple(place for some in found for place in some)


def _places(file: Path, text: str, wanted: str) -> Iterator[Place]:
    if not re.search(r"\b([rR]ecord|span|work|_event|yield Send|yield Broadcast)\(", text):
        return
    name = f"labkit/{file.relative_to(LABKIT)}"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        kind, said, keywords = _what(node)
        if isinstance(kind, ast.Constant) and kind.value == wanted:
            driver = "driver" in ast.unparse(node.func)
            line = ast.unparse(node)
            line = line if len(line) < LONG else f"{line[:LONG]}…"
            pattern, literal = _pattern(said)
            yield Place(name, node.lineno, wanted, pattern, literal, driver, keywords, line)


def _what(node: ast.Call) -> tuple[ast.expr | None, ast.expr, frozenset[str]]:
    """What a call records: its kind, its name, and what besides; None when it records nothing."""
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    arguments = list(node.args)
    keywords = frozenset(k.arg for k in node.keywords if k.arg)
    nothing: ast.expr = ast.Constant("")
    match called:
        case "Send" | "Broadcast" if len(arguments) == 2 and isinstance(arguments[1], ast.Call):
            sent = ast.Constant(_message(arguments[1].func))
            return ast.Constant("send"), sent, frozenset(("id", "peer", "bytes"))
        case "_event":  # the simulator's: time, node and life come first
            arguments = arguments[3:]
        case "span" | "work":
            arguments.insert(0, ast.Constant("begin"))
        case "record" | "Record":
            pass
        case _:
            return None, nothing, keywords
    kind = arguments[0] if arguments else None
    return kind, arguments[1] if len(arguments) > 1 else nothing, keywords


def _message(made_by: ast.expr) -> str:
    """The class of a message that is made by it, or by a helper that is called like it:
    `Send(leader, self.append_entries(…))` sends an AppendEntries."""
    if isinstance(made_by, ast.Attribute) and made_by.attr.islower():
        return "".join(part.capitalize() for part in made_by.attr.split("_"))
    return ast.unparse(made_by)


def _pattern(said: ast.expr) -> tuple[re.Pattern[str], int]:
    """What the name looks like, and how many of its letters are spelled out."""
    parts = said.values if isinstance(said, ast.JoinedStr) else [said]
    texts = [str(p.value) if isinstance(p, ast.Constant) else None for p in parts]
    pattern = "".join(".*" if text is None else re.escape(text) for text in texts)
    return re.compile(pattern, re.DOTALL), sum(1 + len(t) for t in texts if t is not None)
