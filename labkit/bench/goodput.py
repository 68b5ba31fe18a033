"""What is left of a training run when a rank is killed every 10 s: the lab beside torchrun.

`labkit bench goodput` trains the digits on four ranks, first the lab's elastic training, where a
warm spare takes the place of the dead, then torch.distributed under torchrun, which restarts all
ranks from the last checkpoint. Goodput is the share of wall time spent on steps that count: a step
that was broken off, or done and lost, does not.

Before that, a short run of each under a few kills measures what a death costs it. Fed with that,
the simulator of `labkit.reliability` predicts the long run; both are printed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.bench import report
from labkit.bench.accounting import Costs, Step, costs, counted, share, stretches
from labkit.bench.peers.program import Program, script, tool, where
from labkit.bench.recovery import OWN_STORE
from labkit.reliability.fleet import Failures, Fleet
from labkit.reliability.life import play
from labkit.views import style
from labkit.views.progress import progress

RANKS = 4
SECONDS, EVERY = 120.0, 10.0
WARM = 5.0  # seconds before the clock starts
START = 60.0  # seconds that torchrun's ranks may take to their first step
SAVE_EVERY = 10  # steps, torchrun's: about half a second, Young's interval for 15 ms and 10 s
LAB, TORCHRUN = "lab, elastic", "torchrun, restart"
GOODPUT, PREDICTED, OFF = ": goodput", ": predicted", ": prediction is off by"
AIMS = [
    report.Aim(LAB + GOODPUT, ">=", 95.0),
    report.Aim(LAB + OFF, "<", 5.0),
]

Kills = Sequence[tuple[float, int]]
"""Moments, in seconds after the warm-up, and ranks."""
TRIAL: dict[str, tuple[float, Kills]] = {
    LAB: (14.0, [(2.0, 1), (6.0, 2), (10.0, 0)]),
    TORCHRUN: (20.0, [(2.0, 1)]),
}
"""How long the run is that measures what a death costs, and its kills."""


@dataclass(frozen=True)
class Recording:
    """A run's counted steps and its kills, from `begin` to `end`."""

    steps: list[Step]
    kills: list[float]
    begin: float
    end: float

    @property
    def goodput(self) -> float:
        return share(self.steps, self.begin, self.end)

    @property
    def costs(self) -> Costs:
        return costs(self.steps, self.kills, self.begin, self.end)


def kills_of(seconds: float, every: float, dice: random.Random) -> Kills:
    """One every so many seconds, of a random rank; the first after half of that."""
    count = int(seconds / every)
    return [(every * (i + 0.5), dice.randrange(RANKS)) for i in range(count)]


# The runs


def lab(seconds: float, kills: Kills, seed: int) -> Recording:
    given = [f"{moment}:{rank}" for moment, rank in kills]
    command = [sys.executable, script("goodput_lab"), str(seconds), str(WARM), str(seed), *given]
    with Program(*command, seconds=seconds + WARM + 60) as program:
        said = list(program.words())
        if not said or said[-1]["word"] != "over":
            raise RuntimeError(f"the lab's run did not end; {program.complaint()}")
    steps = [Step(w["number"], w["begin"], w["end"]) for w in said if w["word"] == "step"]
    times = [w["at"] for w in said if w["word"] == "killed"]
    return Recording(counted(steps), times, said[-1]["begin"], said[-1]["begin"] + seconds)


def torchrun(seconds: float, kills: Kills, seed: int) -> Recording:
    """Its ranks say what they do; a thread kills those that are there."""
    killer, attempts = Killer(kills), list[Step]()
    with tempfile.TemporaryDirectory() as folder:
        command = [tool("torchrun") or "torchrun", "--standalone", f"--nproc-per-node={RANKS}"]
        command += [f"--max-restarts={len(kills) + 1}", script("goodput_torchrun")]
        command += [folder, str(SAVE_EVERY)]
        allowed = START + seconds
        with Program(*command, seconds=allowed, network=False, environment=OWN_STORE) as program:
            try:
                for word in program.words():
                    killer.pids[word.get("rank")] = word.get("pid", 0)
                    if word["word"] == "step":
                        attempts.append(Step(word["number"], word["begin"], word["end"]))
                    if attempts and not killer.begin:
                        killer.set_off(time.monotonic() + WARM)
                        program.deadline = killer.begin + seconds
            except TimeoutError:
                if not attempts:
                    raise
            finally:
                killer.stop()
    return Recording(counted(attempts), killer.times, killer.begin, killer.begin + seconds)


class Killer:
    """SIGKILL to processes of torchrun's, by the clock; `pids` are those of the ranks now."""

    def __init__(self, kills: Kills) -> None:
        self.kills, self.pids = kills, dict[int | None, int]()
        self.begin, self.times = 0.0, list[float]()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def set_off(self, begin: float) -> None:
        self.begin = begin
        self.thread.start()

    def stop(self) -> None:
        self.stopped.set()
        if self.begin:
            self.thread.join()

    def _run(self) -> None:
        for moment, rank in self.kills:
            if self.stopped.wait(self.begin + moment - time.monotonic()):
                return
            with contextlib.suppress(ProcessLookupError):  # the next has not said its name yet
                os.kill(self.pids[rank], signal.SIGKILL)
                self.times.append(time.monotonic())


RUNS = {LAB: lab, TORCHRUN: torchrun}


# The prediction


def fleet(name: str, measured: Costs) -> Fleet:
    """The simulator's settings for what was measured. In the lab a rank is a group of its own, and
    the others stand still when it dies and when it comes back; torchrun's ranks stop together."""
    if name == LAB:
        back = max(measured.pause_after - measured.stall - measured.pause, 0.0)
        join = measured.pause if measured.pauses else 0.0
        return Fleet(RANKS, step=measured.step, detection=measured.stall, restart=back, join=join)
    return Fleet(
        interval=SAVE_EVERY * measured.step,
        write=measured.pause,
        restart=measured.stall,
        step=measured.step,
    )


def predict(name: str, measured: Costs, kills: Kills, seconds: float) -> float:
    moments = [0.0, *(moment for moment, _ in kills)]
    gaps = iter([b - a for a, b in itertools.pairwise(moments)])
    failures = Failures(lambda _: next(gaps, seconds))
    return play(fleet(name, measured), failures, seconds).useful


# Rows


def measure(
    seconds: float = SECONDS, every: float = EVERY, seed: int = 0
) -> tuple[list[report.Row], dict[str, Recording], list[str], report.Losses]:
    """Both systems under the same kills; the rows, the recordings, what a death costs each, and
    what broke off."""
    kills = kills_of(seconds, every, random.Random(seed))
    rows, recordings, notes, losses = [], {}, [], report.Losses()
    for name, run in progress(RUNS.items(), "goodput", unit="system"):
        with losses.kept(name):
            measured = run(*TRIAL[name], seed).costs
            recordings[name] = run(seconds, kills, seed)
        if name not in recordings:
            continue
        goodput = 100 * recordings[name].goodput
        predicted = 100 * predict(name, measured, kills, seconds)
        side: report.Side = "ours" if name == LAB else "peer"
        struck = f"{len(recordings[name].kills)} kills in {seconds:g} s"
        rows += [
            report.row(name + GOODPUT, side, "%", [goodput], struck),
            report.row(name + PREDICTED, side, "%", [predicted], "simulated"),
            report.row(name + OFF, side, "pt", [abs(goodput - predicted)]),
        ]
        notes.append(told(name, measured))
    return rows, recordings, notes, losses


def told(name: str, measured: Costs) -> str:
    other = "joining" if name == LAB else "saving"
    return (
        f"{name}, from a short run: a step {1e3 * measured.step:.0f} ms, from a kill to the next "
        f"step {measured.stall:.2f} s, {other} {1e3 * measured.pause:.0f} ms"
    )


def draw(rows: Sequence[report.Row], recordings: dict[str, Recording]) -> Any:
    """A line of time for each system: steps that count, kills, and nothing."""
    figure = style.figure(10.0, 1.2 + 0.9 * len(recordings))
    axes = figure.subplots()
    values = {row.name: row.median for row in rows}
    for place, (name, recording) in enumerate(recordings.items()):
        colour = style.BLUE if name == LAB else style.ORANGE
        bars = [(a - recording.begin, b - a) for a, b in stretches(recording.steps)]
        axes.broken_barh(bars, (place - 0.3, 0.6), color=colour)
        moments = [kill - recording.begin for kill in recording.kills]
        axes.plot(moments, [place - 0.42] * len(moments), "X", color=style.VERMILION, ms=8)
        text = f"{values[name + GOODPUT]:.1f} %, predicted {values[name + PREDICTED]:.1f} %"
        axes.text(0, place + 0.33, f"{name}: {text}", fontsize=style.LABEL, va="top")
    axes.set_ylim(len(recordings) - 0.2, -0.6)
    axes.set_xlim(0, max(r.end - r.begin for r in recordings.values()))
    axes.set_yticks([])
    axes.set_xlabel(
        "seconds; a cross is a kill, a bar is time in steps that count", fontsize=style.TEXT
    )
    title = f"Goodput of {RANKS} ranks, of which one is killed every {EVERY:g} s"
    axes.set_title(title, fontsize=style.TITLE, loc="left", weight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    return figure


def main(
    json: Path | None = None,
    plot: Path | None = None,
    check: bool = False,
    quick: bool = False,
    seconds: float | None = None,
) -> int:
    """Measures, prints, writes what is asked for; returns how many programs broke off, and how
    many aims were missed."""
    rows, recordings, notes, losses = measure(seconds or (EVERY if quick else SECONDS))
    report.show(rows, [*notes, f"torchrun on TCPStore: {where()}.", *losses])
    if json:
        report.write(json, rows)
    if plot and recordings:
        draw(rows, recordings).savefig(plot, bbox_inches="tight")
    return len(losses) + (report.misses(rows, AIMS) if check else 0)


if __name__ == "__main__":
    sys.exit(main())
