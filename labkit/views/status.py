"""`cluster.status()` as a small table, in a notebook and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]

HEADINGS = {
    "rank": "rank",
    "state": "state",
    "doing": "doing",
    "step": "step",
    "slow": "slower by",
    "view": "view",
    "device": "device",
    "host": "host",
    "clock": "clock ahead by",
    "pid": "pid",
    "life": "life",
    "memory_mb": "memory (PSS)",
    "gpu_memory_mb": "GPU memory",
    "gpu_percent": "GPU use",
    "last_event": "last event",
}
"""The columns in their order; one that is empty for all ranks is left out, others come after."""

SIGNS = {"ready": "●", "running": "●", "paused": "‖", "starting": "○", "restarting": "○"}
"""A sign beside the word shows a state at a glance and without colour; ✕ for the dead."""

RIGHT = {"rank", "step", "view", "pid", "life", "memory_mb", "gpu_memory_mb", "gpu_percent"}


def status_table(rows: Sequence[Row]) -> StatusTable:
    """A table of one plain dict per rank; see `HEADINGS` for the keys that it knows."""
    return StatusTable(list(rows))


class StatusTable:
    """Shows itself; `rows` are the dicts that it was made of."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        seen = list(dict.fromkeys(key for row in rows for key in row))
        order = [k for k in HEADINGS if k in seen] + [k for k in seen if k not in HEADINGS]
        self.columns = [k for k in order if any(row.get(k) is not None for row in rows)]

    def __str__(self) -> str:
        headings = [HEADINGS.get(k, k.replace("_", " ")) for k in self.columns]
        table = [headings] + [[cell(k, row.get(k)) for k in self.columns] for row in self.rows]
        widths = [max(len(line[i]) for line in table) for i in range(len(headings))]
        lines = [
            "  ".join(
                text.rjust(w) if key in RIGHT else text.ljust(w)
                for text, w, key in zip(line, widths, self.columns, strict=True)
            ).rstrip()
            for line in table
        ]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """No background and no colour of text: those of the page's theme, dark or light, stay."""
        rule = "border-bottom:1px solid currentColor"
        heads = "".join(
            f'<th scope="col" style="{_side(k)};{rule}">'
            f"{escape(HEADINGS.get(k, k.replace('_', ' ')))}</th>"
            for k in self.columns
        )
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="{_side(k)};{_state_style(k, row)}">{escape(cell(k, row.get(k)))}</td>'
                for k in self.columns
            )
            + "</tr>"
            for row in self.rows
        )
        return (
            '<table style="background:transparent;color:inherit;border-collapse:collapse">'
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        )


def cell(key: str, value: Any) -> str:
    """The text of one cell; a dash for what is not known."""
    if value is None or value == "":
        return "–"
    if key == "state":
        return f"{SIGNS.get(str(value), '✕')} {value}"
    if key.endswith("_mb"):
        return f"{value:,.0f} MB".replace(",", "\u2009")
    if key.endswith("_percent"):
        return f"{value:.0f} %"
    return str(value)


def _side(key: str) -> str:
    return f"text-align:{'right' if key in RIGHT else 'left'};padding:0.15em 0.7em"


def _state_style(key: str, row: Row) -> str:
    """The dead stand out in bold, the others are as the page has it."""
    dead = key == "state" and str(row.get("state")) not in SIGNS
    return "font-weight:bold" if dead else "font-weight:normal"
