"""How long until 8 ranks have torch and have entered their function: `labkit bench launch`.

The lab beside torch.multiprocessing (spawn, and forkserver with torch preloaded) and torchrun, in
turn in one run. The clock starts when a program that has imported its library asks for ranks; for
torchrun, which is a command, when the command starts. It stops when the last rank has entered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.bench import picture, report
from labkit.bench.peers.program import Program, script, tool, where
from labkit.views.progress import progress

RANKS = 8
SECONDS = 120.0  # for one program
FIRST, WARM = "lab, first use", "lab, warm"
AIMS = [report.Aim(FIRST, "<", 3.0), report.Aim(WARM, "<", 0.3)]  # seconds, on two cores


@dataclass(frozen=True)
class Launcher:
    """`start(ranks, launches)` is a program that launches so often; later launches may be warm."""

    name: str
    start: Callable[[int, int], Program]
    warm: bool = True


def _python(*arguments: object) -> Program:
    return Program(sys.executable, *map(str, arguments), seconds=SECONDS)


def _multiprocessing(method: str) -> Callable[[int, int], Program]:
    name = script("launch_multiprocessing")
    return lambda ranks, launches: _python(name, method, ranks, launches)


def _torchrun(ranks: int, _: int) -> Program:
    command = [tool("torchrun") or "torchrun", "--standalone", f"--nproc-per-node={ranks}"]
    return Program(*command, script("launch_torchrun"), seconds=SECONDS, network=False)


LAUNCHERS = [
    Launcher("lab", lambda ranks, launches: _python(script("launch_lab"), ranks, launches)),
    Launcher("multiprocessing, forkserver", _multiprocessing("forkserver")),
    Launcher("multiprocessing, spawn", _multiprocessing("spawn"), warm=False),
    Launcher("torchrun --standalone", _torchrun, warm=False),
]


def times(program: Program, ranks: int) -> list[float]:
    """Seconds until the last rank had entered, of each launch. Raises when a rank is missing."""
    begun: dict[int, float] = {}
    entered: dict[int, list[float]] = {}
    with program:
        for word in program.words():
            if word["word"] in ("start", "launch"):
                begun[word.get("launch", 0)] = word["time"]
            elif word["word"] == "ready":
                entered.setdefault(word["launch"], []).append(word["time"])
        if not entered or any(len(ready) != ranks for ready in entered.values()):
            raise RuntimeError(f"not all of {ranks} ranks were started; {program.complaint()}")
    return [max(entered[launch]) - begun[launch] for launch in sorted(entered)]


def measure(
    ranks: int = RANKS, rounds: int = 3, launches: int = 8
) -> tuple[list[report.Row], report.Losses]:
    """Each launcher once a round, `launches` times where later launches are warm."""
    took, losses = dict[str, list[float]](), report.Losses()
    for launcher in progress(rounds * LAUNCHERS, "launch", unit="launcher"):
        with losses.kept(launcher.name):
            first, *warm = times(launcher.start(ranks, launches if launcher.warm else 1), ranks)
            use = ", first use" if launcher.warm else ""
            took.setdefault(launcher.name + use, []).append(first)
            if launcher.warm:
                took.setdefault(f"{launcher.name}, warm", []).extend(warm)
    return [
        report.row(name, "ours" if name in (FIRST, WARM) else "peer", "s", seconds)
        for name, seconds in took.items()
    ], losses


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many programs broke off, and how
    many aims were missed."""
    ranks = 2 if quick else RANKS
    rows, losses = measure(2, rounds=1, launches=2) if quick else measure()
    report.show(rows, [f"torchrun: {where()}.", *losses])
    if json:
        report.write(json, rows)
    if plot:
        title = f"{ranks} ranks with torch, from the call to the last rank's first line"
        picture.durations([picture.Panel(title, rows, AIMS[1].limit)]).savefig(
            plot, bbox_inches="tight"
        )
    return len(losses) + (report.misses(rows, AIMS) if check else 0)


if __name__ == "__main__":
    sys.exit(main())
