"""How long a death costs: kill -9 one of four ranks, until the next 4 MB all-reduce is complete.

`labkit bench recovery` takes the lab and its peers in turn in one run. The clock starts at the
SIGKILL, which falls at a random moment of a step. "out": the last survivor has left the collective.
"goes on": the last survivor (with torchrun, the last restarted rank) has completed an all-reduce.
A peer that never does is stopped at a deadline, and its figure is a lower bound.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from msgspec import structs

from labkit.bench import elastic, picture, report
from labkit.bench.peers.install import importing, install
from labkit.bench.peers.program import Program, script, tool, where
from labkit.views.progress import Progress, progress

RANKS, VICTIM = 4, 2
LAB = {
    "lab, digits in training": ("digits", "2"),
    "lab, all-reduces only": ("bare", "2"),
    "lab, digits, rank 0 and the leader die": ("digits", "0,4"),
}
"""The job, and who is killed; 4 is the witness, which leads the voters."""
TORCHFT, TELEMETRY = "torchft==0.2.0", "opentelemetry-exporter-otlp-proto-http==1.45.2"
OUT, ON = ": out", ": goes on"  # ends of rows' names
AIMS = [
    report.Aim("lab, digits in training" + OUT, "<", 0.050),
    report.Aim("lab, digits in training" + ON, "<", 0.100),
    report.Aim("lab, digits, rank 0 and the leader die" + ON, "<", 0.250),
    *elastic.AIMS,
]
START_SECONDS = 60.0  # for a program to start its ranks, and for the lab's own deaths
HANGS_AFTER = 10.0  # seconds after the SIGKILL


@dataclass(frozen=True)
class Death:
    """Seconds from the SIGKILL to the moment when the last rank was `out` of the collective, and
    had `recovered`; None when that had not happened by the deadline."""

    out: float | None
    recovered: float | None
    resident: float = 0.0  # bytes of the victim, which the kernel frees before it closes sockets


@dataclass(frozen=True)
class Peer:
    """`start()` is a program of four ranks in a loop of all-reduces."""

    name: str
    start: Callable[[], Program]
    stays: bool = True  # survivors go on; else all ranks are restarted
    leaves: bool = True  # survivors tell when they have left the collective
    slow: bool = True  # takes seconds: fewer repeats
    hangs_after: float = HANGS_AFTER


def _torchrun(environment: Mapping[str, str] | None = None) -> Program:
    command = [tool("torchrun") or "torchrun", "--standalone", "--max-restarts=3"]
    command += [f"--nproc-per-node={RANKS}", script("recover_gloo")]
    return Program(*command, seconds=START_SECONDS, network=False, environment=environment)


def _plain() -> Program:
    command = [sys.executable, script("recover_gloo"), str(RANKS)]
    return Program(*command, seconds=START_SECONDS, network=False)


def _ulfm() -> Program:
    command = [tool("mpiexec") or "mpiexec", "--with-ft", "ulfm", "--oversubscribe"]
    command += ["-n", str(RANKS), sys.executable, script("recover_ulfm")]
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return Program(*command, seconds=START_SECONDS, environment=as_root)


def torchft(where: str) -> tuple[list[Peer], str]:
    """Put by pip into the folder `where`, with the telemetry that it imports; why not."""
    for package, needs in ((TORCHFT, False), (TELEMETRY, True)):
        if missing := install(package, where, needs):
            return [], f"{TORCHFT} could not be installed: {missing}."

    def start() -> Program:
        command = [sys.executable, script("recover_torchft"), str(RANKS)]
        found = importing(where)
        return Program(*command, seconds=START_SECONDS, network=False, environment=found)

    return [Peer("torchft, short time-outs", start, leaves=False)], ""


OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
PEERS = [
    Peer("Open MPI ULFM", _ulfm, slow=False),
    Peer("torchrun, store not shared", lambda: _torchrun(OWN_STORE), stays=False, leaves=False),
    Peer("torchrun, default", _torchrun, stays=False, leaves=False, hangs_after=15.0),
    Peer("torch.distributed alone", _plain),
]


# One death of a peer


def kill_one(peer: Peer, dice: random.Random) -> Death:
    """Starts the peer, kills its rank 2 when all ranks are at work, and listens."""
    with peer.start() as program:
        words = program.words()
        pids: dict[int, int] = {}
        while len(pids) < RANKS:
            word = next(words, None)
            if word is None:
                raise RuntimeError(f"{peer.name} did not start; {program.complaint()}")
            if word["word"] == "stepping":
                pids[word["rank"]] = word["pid"]
        time.sleep(dice.uniform(0.05, 0.15))
        killed = time.monotonic()
        os.kill(pids[VICTIM], signal.SIGKILL)
        program.deadline = killed + peer.hangs_after
        return listen(words, killed, RANKS - 1 if peer.stays else RANKS)


def listen(words: Iterator[dict[str, Any]], killed: float, expected: int) -> Death:
    """The rest of what a program says after the SIGKILL, until `expected` ranks have recovered."""
    times: dict[str, list[float]] = defaultdict(list)
    try:
        for word in words:
            times[word["word"]].append(word["time"] - killed)
            if len(times["recovered"]) == expected:
                break
    except TimeoutError:
        pass
    out, recovered = times["out"], times["recovered"]
    return Death(
        max(out) if len(out) == RANKS - 1 else None,
        max(recovered) if len(recovered) == expected else None,
    )


# Deaths in the lab


def lab_deaths(job: str, victims: str, times: int, seed: int) -> list[Death]:
    """The lab's own program kills its victims itself, `times` times."""
    command = sys.executable, script("recover_lab"), job, str(times), str(seed), victims
    program = Program(*command, seconds=60 + 10 * times)
    deaths: list[Death] = []
    with program:
        said: list[dict[str, Any]] = []
        for word in program.words():
            said.append(word)
            if word["word"] == "over":
                deaths.append(_death(said))
                said = []
        if len(deaths) < times:
            raise RuntimeError(f"the lab's job {job!r} did not recover; {program.complaint()}")
    return deaths


def _death(said: list[dict[str, Any]]) -> Death:
    kill = next(word for word in said if word["word"] == "killed")
    death = listen(iter(said), kill["time"], RANKS - 1)
    return Death(death.out, death.recovered, kill["resident"])


# Rows


def measure(
    deaths: int = 20,
    slow_deaths: int = 4,
    seed: int = 0,
    peers_taken: Sequence[Peer] = PEERS,
    cases: Sequence[str] = elastic.CASES,
) -> tuple[list[report.Row], list[str], report.Losses]:
    """All systems in turn, in rounds; the rows, sentences about them, and what broke off.

    Slow peers die once a round, the others `deaths` times in all.
    """
    dice = random.Random(seed)
    found: dict[str, list[Death]] = defaultdict(list)
    trials, losses = elastic.Trials(), report.Losses()
    systems = len(LAB) + len(cases) + len(peers_taken)
    bar: Progress[None] = progress(
        total=slow_deaths * systems, description="recovery", unit="system"
    )
    with bar:
        for i in range(slow_deaths):
            share = len(range(i, deaths, slow_deaths))
            for name, (job, victims) in LAB.items():
                with losses.kept(name):
                    found[name] += lab_deaths(job, victims, share, dice.randrange(1000))
                bar.update()
            for case in cases:
                with losses.kept(elastic.NAMES[case]):
                    trials.take(case, 1 if case in elastic.SLOW else share, dice.randrange(1000))
                bar.update()
            for peer in peers_taken:
                with losses.kept(peer.name):
                    killed = [kill_one(peer, dice) for _ in range(1 if peer.slow else share)]
                    found[peer.name] += killed
                bar.update()
    limits = {peer.name: peer.hangs_after for peer in peers_taken}
    mute = {peer.name for peer in peers_taken if not peer.leaves}
    rows = []
    for name, all_of in found.items():  # where all broke off, there is no name
        limit = limits.get(name, START_SECONDS)
        if name not in mute:
            rows.append(_row(name + OUT, [death.out for death in all_of], limit))
        rows.append(_row(name + ON, [death.recovered for death in all_of], limit))
    resident = max((d.resident for name in LAB for d in found.get(name, [])), default=0.0)
    notes = [f"In the lab's jobs the killed rank had up to {resident / 1e6:.0f} MB resident."]
    notes += [trials.verdict(), f"Peers on TCPStore: {where()}."]
    return rows + trials.rows(), notes, losses


def _row(name: str, seconds: Sequence[float | None], limit: float) -> report.Row:
    side: Literal["ours", "peer"] = "ours" if name.startswith("lab, ") else "peer"
    ended = [limit if s is None else s for s in seconds]
    late = list(seconds).count(None)
    note = f"not within {limit:g} s in {late} of {len(ended)}" if late else ""
    return report.row(name, side, "s", ended, note, at_least=2 * late >= len(ended))


def draw(rows: Sequence[report.Row]) -> Any:
    """Two panels on one time axis: out of the collective, and going on."""

    def panel(title: str, end: str, aim: report.Aim) -> picture.Panel:
        chosen = [row for row in rows if row.name.endswith(end)]
        named = [structs.replace(row, name=row.name.removesuffix(end)) for row in chosen]
        return picture.Panel(title, named, aim.limit)

    out = panel(f"kill -9 of one of {RANKS}: the last survivor is out", OUT, AIMS[0])
    on = panel("… and the next all-reduce of 4 MB is complete", ON, AIMS[1])
    return picture.durations([out, on])


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many programs broke off, and how
    many aims were missed."""
    few = [peer for peer in PEERS if peer.stays]
    few = [replace(peer, hangs_after=1.0) for peer in few]
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as where_peers_are:
        if quick:
            rows, notes, losses = measure(1, 1, 0, few, elastic.QUICK)
        else:
            found, missing = torchft(where_peers_are)
            rows, notes, losses = measure(peers_taken=[*PEERS, *found])
            notes += [missing] if missing else []
    report.show(rows, [*notes, *losses])
    if json:
        report.write(json, rows)
    if plot:
        draw(rows).savefig(plot, bbox_inches="tight")
    taken = {row.name for row in rows}
    aims = [aim for aim in AIMS if aim.row in taken] if quick else AIMS  # it leaves some out
    return len(losses) + (report.misses(rows, aims) if check else 0)


if __name__ == "__main__":
    sys.exit(main())
