"""How long a group of five is without a leader: kill -9 of the leader, until another is elected.

`labkit bench failover`, with election time-outs of 150 to 300 ms throughout. The lab's Raft runs in
five workers and writes its votes to the disk; once its followers know of the death by their
time-outs alone, which can be compared with what theory expects, and once they hear that the
connection to the leader is closed. PySyncObj, the usual Raft in Python, is installed by pip into a
temporary folder for this; its nodes are plain processes, and keep their votes in memory.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import runs
from labkit.bench import picture, report
from labkit.bench.peers.install import importing, install
from labkit.bench.peers.program import Program, script
from labkit.doctor.measure import time_fsync, time_loopback
from labkit.views.progress import progress

NODES, TIMEOUT = 5, 0.150
PEER = "pysyncobj==0.3.17"
BY_TIMEOUT, BY_CONNECTION = "lab, by time-out", "lab, by closed connection"
OFF, LATE = "lab, by time-out: mean off theory", "lab, by time-out: latest"
AIMS = [
    report.Aim(OFF, "<", 0.020),
    report.Aim(LATE, "<", 1.0),
    report.Aim(BY_CONNECTION, "<", 0.060),
]
SECONDS = 280.0  # for one program


def expected(latency: float, write: float, beat: float = 1 / 3, live: int = NODES - 1) -> float:
    """Seconds until a leader: `live` followers draw time-outs from [T, 2T], of which the first
    counts; the leader, which beats every `beat` T, has done so half of that before its death on
    average; then a message, its answer and the write of a vote. All figures in seconds."""
    return TIMEOUT * (1 + 1 / (live + 1) - beat / 2) + 2 * latency + write


def failovers(program: Program, times: int) -> list[float]:
    """Seconds from each SIGKILL to the next leader. Raises when the program did not do them all."""
    with program:
        took = [word["after"] for word in program.words() if word["word"] == "elected"]
        if len(took) < times:
            raise RuntimeError(f"only {len(took)} of {times} leaders; {program.complaint()}")
    return took


def lab(mode: str, times: int, seed: int) -> list[float]:
    command = [sys.executable, script("failover_lab"), mode, str(times), str(seed)]
    return failovers(Program(*command, seconds=SECONDS), times)


def peer(where: str, times: int, seed: int) -> list[float]:
    command = [sys.executable, script("failover_pysyncobj"), str(times), str(seed)]
    return failovers(Program(*command, seconds=SECONDS, environment=importing(where)), times)


def measure(
    times: int = 100, rounds: int = 4, seed: int = 0
) -> tuple[list[report.Row], list[str], report.Losses]:
    """All systems in turn, in rounds; the rows, notes for their reader, and what broke off."""
    dice = random.Random(seed)
    share = times // rounds
    took: dict[str, list[float]] = {BY_TIMEOUT: [], BY_CONNECTION: []}
    losses = report.Losses()
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as where:
        missing = install(PEER, where)
        for _ in progress(range(rounds), "failover", unit="round"):
            with losses.kept(BY_TIMEOUT):
                took[BY_TIMEOUT] += lab("timeout", share, dice.randrange(1000))
            with losses.kept(BY_CONNECTION):
                took[BY_CONNECTION] += lab("connection", share, dice.randrange(1000))
            with losses.kept(PEER):
                if not missing:
                    took.setdefault(PEER, []).extend(peer(where, share, dice.randrange(1000)))
    write = statistics.median(time_fsync(runs.root()))
    latency = statistics.median(time_loopback()) / 2
    theory = expected(latency, write)
    notes = [
        f"Theory: {1000 * theory:.0f} ms on average by time-out, with {1e6 * latency:.0f} µs for a "
        f"message, {1000 * write:.1f} ms for a write, and a beat every third of a time-out "
        f"({1000 * expected(latency, write, beat=1 / 2):.0f} ms with a beat every half of it).",
        *([f"{PEER} could not be installed: {missing}."] if missing else []),
    ]
    return rows({name: all_of for name, all_of in took.items() if all_of}, theory), notes, losses


def rows(took: Mapping[str, Sequence[float]], theory: float) -> list[report.Row]:
    made = []
    for name, seconds in took.items():
        side: Any = "ours" if name.startswith("lab, ") else "peer"
        mean = f"mean {1000 * statistics.mean(seconds):.0f} ms"
        made.append(report.row(name, side, "s", seconds, mean))
    if BY_TIMEOUT not in took:
        return made
    off = abs(statistics.mean(took[BY_TIMEOUT]) - theory)
    made.append(report.row(OFF, "ours", "s", [off], f"theory {1000 * theory:.0f} ms"))
    made.append(report.row(LATE, "ours", "s", [max(took[BY_TIMEOUT])]))
    return made


def draw(shown: Sequence[report.Row]) -> Any:
    chosen = [row for row in shown if row.name not in (OFF, LATE)]
    title = f"kill -9 of the leader of {NODES}, time-outs of 150 to 300 ms: until the next leader"
    return picture.durations([picture.Panel(title, chosen, AIMS[-1].limit)])


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many programs broke off, and how
    many aims were missed."""
    shown, notes, losses = measure(times=3, rounds=1) if quick else measure()
    report.show(shown, [*notes, *losses])
    if json:
        report.write(json, shown)
    if plot:
        draw(shown).savefig(plot, bbox_inches="tight")
    return len(losses) + (report.misses(shown, AIMS) if check else 0)


if __name__ == "__main__":
    sys.exit(main())
