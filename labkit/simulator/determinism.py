"""Is a seed the same run in every process? A simulator for which it is not cannot replay what it
finds. Python's hashes of strings differ from process to process, so that is where it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import zip_longest

PLAY = """
import sys
from labkit.simulator.scenario import prepare
from labkit.simulator.scenarios import scenario
{before}
whole = scenario({name!r})
sim = prepare(whole, whole.draw({seed}), record=True).run({seconds})
sys.stdout.buffer.write(b"\\n".join(sim.recorder.lines()))
"""


def first_difference(name: str, seed: int, seconds: float = 10.0, before: str = "") -> str | None:
    """Plays a seed of a scenario in two processes that hash differently. None if all that happens
    is the same; else a sentence about where the runs part. `before` is code that both run first.
    """
    code = PLAY.format(name=name, seed=seed, seconds=seconds, before=before)
    runs = [_started(code, hash_seed) for hash_seed in ("1", "2")]
    one, other = (_lines(run) for run in runs)
    for number, (a, b) in enumerate(zip_longest(one, other, fillvalue="nothing more")):
        if a != b:
            return (
                f"seed {seed} of {name} is not one run: after {number} equal entries one process "
                f"has {a} and the other {b}. Something else than the seed decides: the order of a "
                "set, hash(), the global random numbers, or a clock of the machine"
            )
    return None


def _started(code: str, hash_seed: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _lines(run: subprocess.Popen[str]) -> list[str]:
    output, _ = run.communicate()
    if run.returncode:
        raise RuntimeError(f"the run ended with status {run.returncode}; its error is above")
    return output.splitlines()
