"""How fast the simulator is: `labkit bench simulator`.

Delivered messages a second on one core, of 5-node Raft with three clients: with every invariant
checked after every event, and with none. Beside it simpy, the usual simulation library of Python,
that passes messages between five processes which do nothing else. Then a thousand seeds of swarm
faults on all cores.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from labkit.bench import picture, report
from labkit.bench.peers.install import install
from labkit.protocols.raft import Raft
from labkit.protocols.raft.client import Client
from labkit.simulator.explore import explore
from labkit.simulator.scenarios import CLIENTS, RAFT, draw_command
from labkit.simulator.schedule import swarm
from labkit.simulator.simulation import Simulation
from labkit.views.progress import progress

NODES = 5
PEER = "simpy==4.1.1"
CHECKED = "Raft, 5 nodes, every invariant on"
UNCHECKED = "Raft, 5 nodes, no invariant"
SIMPY = "simpy: message hops, no protocol"
SWEEP = "{seeds} seeds of Raft, 5 nodes, 30 s each, all cores"
AIM = 100_000


def raft_rate(seed: int, seconds: float, checked: bool) -> float:
    """Delivered messages per second of real time, without faults."""
    client = partial(Client, choose=draw_command, pause=0.15)
    sim = Simulation(
        Raft,
        NODES,
        seed,
        invariants=RAFT.invariants if checked else (),
        clients=dict.fromkeys(CLIENTS, client),
    )
    begin = time.perf_counter()
    sim.run(seconds)
    return sim.delivered / (time.perf_counter() - begin)


def simpy_rate(seconds: float) -> float:
    """Five processes in a ring, with a message between any two at all times."""
    simpy: Any = importlib.import_module("simpy")
    env = simpy.Environment()
    stores = [simpy.Store(env) for _ in range(NODES)]
    hops = 0

    def deliver(to: int, message: int) -> Any:
        yield env.timeout(0.003)
        yield stores[to].put(message)

    def node(me: int) -> Any:
        nonlocal hops
        while True:
            message = yield stores[me].get()
            hops += 1
            env.process(deliver((me + 1) % NODES, message + 1))

    for i in range(NODES):
        env.process(node(i))
        stores[i].put(0)
    begin = time.perf_counter()
    env.run(until=seconds)
    return hops / (time.perf_counter() - begin)


def find_simpy() -> bool:
    """Installs it for this process alone."""
    where = tempfile.TemporaryDirectory(prefix="labkit-bench-")
    atexit.register(where.cleanup)
    missing = install(PEER, where.name)
    if missing:
        print(f"{PEER} could not be installed: {missing}")
    sys.path.append(where.name)
    return not missing


def measure(rounds: int = 10, seconds: float = 60.0, seeds: int = 1000) -> list[report.Row]:
    """In turn in one run, after one of each that is not counted."""
    rates: dict[str, list[float]] = {CHECKED: [], UNCHECKED: [], SIMPY: []}
    has_simpy = find_simpy()
    for seed in progress(range(-1, rounds), "rates", unit="round"):
        measured = {
            CHECKED: raft_rate(seed, seconds, checked=True),
            UNCHECKED: raft_rate(seed, seconds, checked=False),
        }
        if has_simpy:
            measured[SIMPY] = simpy_rate(seconds / 4)
        if seed >= 0:
            for name, rate in measured.items():
                rates[name].append(rate)
    rows = [
        report.row(name, "peer" if name == SIMPY else "ours", "1/s", values)
        for name, values in rates.items()
        if values
    ]
    draw = partial(swarm, sizes=(NODES,), seconds=30.0)
    result = explore(RAFT, seeds, draw)
    if result.finding is not None:
        raise RuntimeError(f"there is a bug, and the figures are of no use:\n{result}")
    note = f"{result.delivered:,} messages, {sum(result.faults.values()):,} faults"
    rows.append(report.row(SWEEP.format(seeds=seeds), "ours", "s", [result.seconds], note))
    return rows


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    seeds = 50 if quick else 1000
    rows = measure(rounds=2, seconds=10.0, seeds=seeds) if quick else measure()
    notes = [f"{os.cpu_count()} cores; the first three rows use one of them."]
    report.show(rows, notes)
    if json:
        report.write(json, rows)
    if plot:
        title = "Delivered messages a second on one core"
        picture.durations([picture.Panel(title, rows[:-1], AIM)]).savefig(plot)
    sweep = SWEEP.format(seeds=seeds)
    aims = [report.Aim(CHECKED, ">=", AIM), report.Aim(sweep, "<", 60.0)]
    return report.misses(rows, aims) if check else 0


if __name__ == "__main__":
    sys.exit(main())
