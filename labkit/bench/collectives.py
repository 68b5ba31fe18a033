"""The lab's all-reduce beside Gloo's own and MPI's, 4 KiB to 64 MiB: `labkit bench collectives`.

Four ranks, all contenders in turn in one run; `labkit.bench.peers.all_reduce` says how a time is
taken. The ranks are started anew several times: where the system puts their memory decides over a
factor of 1.5 from one start to the next, for all rounds of that start. The rows of unit "x" are
ratios, one for each round, of two that came one after the other: more than 1 means that the lab's
took less time than its peer.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from labkit.bench import report
from labkit.bench.peers.program import Program, script, tool

RANKS, STARTS, ROUNDS = 4, 5, 6
KIB, MIB = 1 << 10, 1 << 20
SIZES = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB, 64 * MIB]
SECONDS = 1800.0  # a run takes about 3 minutes on two cores

GLOO, MPI = "Gloo's own", "MPI's Allreduce"
RING, PRIVATE, BUCKET = "segmented ring", "shared memory", "shared memory, bucket"

FROM_1_MIB = [size for size in SIZES if size >= MIB]
PAIRS = [
    *((RING, GLOO, size, 0.95) for size in FROM_1_MIB),
    *((PRIVATE, MPI, size, 1.5) for size in (8 * MIB, 64 * MIB)),
    *((BUCKET, MPI, size, 3.0) for size in (8 * MIB, 64 * MIB)),
]
"""The lab's, its peer, at which size, and how many times as fast it should be."""

Times = Mapping[tuple[str, int], Sequence[float]]
"""Seconds of each round, by name and size."""


def measure(sizes: Sequence[int], starts: int, rounds: int) -> Times:
    """The times of so many rounds of each start of the ranks."""
    times: dict[tuple[str, int], list[float]] = {}
    for start in range(starts):
        print(f"start {start + 1} of {starts}:", file=sys.stderr)
        for who, seconds in _one_start(sizes, rounds).items():
            times.setdefault(who, []).extend(seconds)
    return times


def _one_start(sizes: Sequence[int], rounds: int) -> Times:
    """Runs the ranks, and says which size they are at. Raises RuntimeError with the reason when
    they do not come to their end."""
    times: dict[tuple[str, int], Sequence[float]] = {}
    mpiexec = [tool("mpiexec") or "mpiexec", "--oversubscribe", "-n", str(RANKS)]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with tempfile.TemporaryDirectory() as folder:
        ranks = [sys.executable, script("all_reduce"), str(rounds), folder, *map(str, sizes)]
        with Program(*mpiexec, *ranks, seconds=SECONDS, environment=root) as program:
            for word in program.words():
                if word["word"] == "size":
                    print(f"  {text(word['size'])} …", file=sys.stderr, flush=True)
                elif word["word"] == "measured":
                    times[word["name"], word["size"]] = word["seconds"]
            if {size for _, size in times} != set(sizes):
                raise RuntimeError(f"the ranks ended too early; {program.complaint()}")
    return times


def rows(times: Times) -> list[report.Row]:
    """The times of all, then the ratios of those that are compared."""
    sides: dict[str, report.Side] = {GLOO: "peer", MPI: "peer"}
    absolute = [
        report.row(f"{name}, {text(size)}", sides.get(name, "ours"), "s", seconds)
        for (name, size), seconds in times.items()
    ]
    ratios = [
        report.row(versus(ours, peer, size), "ours", "x", faster(times, ours, peer, size))
        for ours, peer, size, _ in PAIRS
        if (ours, size) in times
    ]
    return absolute + ratios


def faster(times: Times, ours: str, peer: str, size: int) -> list[float]:
    pairs = zip(times[ours, size], times[peer, size], strict=True)
    return [theirs / mine for mine, theirs in pairs]


def versus(ours: str, peer: str, size: int) -> str:
    return f"{ours} : {peer}, {text(size)}"


def text(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def draw(times: Times, path: Path) -> None:
    """Median time against size, a line for each contender."""
    from labkit.views.collectives import time_curves

    curves: dict[str, list[tuple[float, float]]] = {}
    for (name, size), seconds in times.items():
        curves.setdefault(name, []).append((size, sorted(seconds)[len(seconds) // 2]))
    title = f"All-reduce of {RANKS} ranks, median of {len(seconds)} rounds"
    time_curves(curves, title=title).savefig(path)


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    sizes = [size for size in SIZES if size <= MIB] if quick else SIZES
    times = measure(sizes, 1, 3) if quick else measure(sizes, STARTS, ROUNDS)
    found = rows(times)
    report.show(found, [f"{RANKS} ranks; a time is that of the slowest, from a barrier on."])
    if json:
        report.write(json, found)
    if plot:
        draw(times, plot)
    aims = [
        report.Aim(versus(ours, peer, size), ">=", factor)
        for ours, peer, size, factor in PAIRS
        if size in sizes
    ]
    return report.misses(found, aims) if check else 0


if __name__ == "__main__":
    sys.exit(main())
