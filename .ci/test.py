"""What `make test` runs: every part in order, also after one that fails, then a table.

A part that takes longer than its budget (seconds on two cores) is marked in the table; one that
takes five times as long has hung, is ended, and has failed.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
HUNG = 5
MARK = "LABKIT_TEST_RUN"
PYTHON = sys.executable
PYTEST = [PYTHON, "-m", "pytest", "-q"]
LABKIT = [PYTHON, "-m", "labkit.cli"]
BOTH_CORES = ["-n", "2", "--dist", "loadfile"]
PURE = ["tests/protocols", "tests/simulator"]  # no process, no socket, no time of their own
ALONE = [*PURE, "tests/grading"]  # a grader's jails share nothing: these run on both cores


@dataclass(frozen=True)
class Part:
    name: str
    budget: float
    command: list[str]
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    part: Part
    seconds: float
    failure: str  # empty when it passed


LINT = [
    Part("ruff check", 5, [PYTHON, "-m", "ruff", "check"]),
    Part("ruff format", 5, [PYTHON, "-m", "ruff", "format", "--check"]),
    Part("mypy", 20, [PYTHON, "-m", "mypy"]),
]
# Jails come and go where the runtime's tests look for what was left: not beside one another.
QUICK = ["-m", "not slow and not long", "--ignore=tests/grading"]
PORTABLE = {"LABKIT_PORTABLE": "1"}  # no Linux-only aid: what is left is what macOS has
AT_RANDOM = "tests/runtime/test_life.py::test_kills_and_pauses_at_random_moments"
WITHOUT_AIDS = [  # tests/test_shared_memory.py does both by itself
    "tests/runtime/test_life.py",
    "tests/runtime/test_kernel.py::test_restarting_the_kernel_leaves_no_worker",
    *(f"--deselect={AT_RANDOM}_leave_no_survivor_hanging[{block}]" for block in range(1, 5)),
]
KEPT = {"LABKIT_RUNS": str(ROOT / "runs")}  # the page that it prints is there to be looked at
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=120", "-p", "no:cacheprovider"]
NBVAL += ["-p", "cell_outputs"]
PLUGINS = {"PYTHONPATH": str(ROOT / ".ci" / "plugins")}
ON_GPUS = ["tests/runtime/test_gpus.py", "tests/test_links.py", "tests/test_staged_copies.py"]
GPU_REPORT = {"LABKIT_GPU_REPORT": str(ROOT / "runs" / "gpu-report.txt")}
OTHER = ["-p", "world_size=3", "-p", "seed=7"]

RUNS = {
    "fast": [
        *LINT,
        Part("pytest, quick", 60, [*PYTEST, *BOTH_CORES, *QUICK]),
    ],
    "all": [
        *LINT,
        Part("pytest, simulated", 120, [*PYTEST, *BOTH_CORES, *PURE]),
        Part("pytest, grading", 270, [*PYTEST, *BOTH_CORES, "tests/grading"]),
        Part("pytest", 1130, [*PYTEST, *(f"--ignore={folder}" for folder in ALONE)]),
        Part("pytest, portable", 65, [*PYTEST, *WITHOUT_AIDS], PORTABLE),
        Part("notebooks match", 10, [*LABKIT, "notebooks", "check"]),
        Part("nbval", 430, [*PYTEST, *NBVAL, "notebooks"], PLUGINS),
        Part("papermill", 35, [*LABKIT, "run", "02", *OTHER], KEPT),
    ],
    "gpu": [
        Part("pytest, GPU", 600, [*PYTEST, "-rA", "-m", "not long", *ON_GPUS], GPU_REPORT),
    ],
    "gpus": [  # two or more: every cluster of the suite takes them, unless it asks for the CPU
        Part("pytest, GPUs", 3600, [*PYTEST, "-rA", "-m", "not long"], GPU_REPORT),
    ],
    "long": [
        Part("pytest, long", 2400, [*PYTEST, "-m", "long"]),
        Part("runtime, portable", 600, [*PYTEST, "tests/runtime"], PORTABLE),
        Part("solutions", 300, [*LABKIT, "notebooks", "build", "--solutions"]),
    ],
}


def parts_of(name: str) -> list[Part]:
    if name != "gpu":
        return RUNS[name]
    count = [PYTHON, "-c", "import torch; print(torch.cuda.device_count())"]
    said = subprocess.run(count, stdout=subprocess.PIPE, text=True, check=True).stdout
    return RUNS["gpus" if int(said) > 1 else "gpu"]


def main(parts: list[Part]) -> int:
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        skipped = Path(folder) / "skipped"
        common = {
            MARK: mark,  # inherited by whatever a part starts, and so found again
            "LABKIT_SKIPPED": str(skipped),
            "LABKIT_RUNS": str(Path(folder) / "runs"),
        }
        outcomes = [run(part, common) for part in parts]
        outcomes.append(timed(Part("nothing left", 5, []), lambda: left_behind(mark)))
        print_skipped(skipped)
    print_table(outcomes)
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def run(part: Part, common: dict[str, str]) -> Outcome:
    print(f"\n=== {part.name} (budget {part.budget:.0f} s)", flush=True)
    return timed(part, lambda: execute(part, os.environ | common | part.settings))


def timed(part: Part, work: Callable[[], str]) -> Outcome:
    begin = time.monotonic()
    failure = work()
    return Outcome(part, time.monotonic() - begin, failure)


def execute(part: Part, settings: dict[str, str]) -> str:
    """Runs the command in a process group of its own, so that all of it can be ended."""
    process = subprocess.Popen(part.command, cwd=ROOT, env=settings, start_new_session=True)
    try:
        status = process.wait(timeout=HUNG * part.budget)
    except subprocess.TimeoutExpired:
        return f"hung: ended after {HUNG} times its budget"
    finally:  # also when this runner is interrupted
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"exit status {status}" if status else ""


def left_behind(mark: str, patience: float = 3.0) -> str:
    """Ends, by pid, what the parts have left running, and says what it was."""
    print("\n=== nothing left", flush=True)
    deadline = time.monotonic() + patience  # a worker ends within 2 s of its driver
    while (processes := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in processes:
        try:
            print(f"left running: {process.pid} {' '.join(process.cmdline())[:120]}", flush=True)
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return f"{len(processes)} processes left running" if processes else ""


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that were started, however indirectly, by a part of this run."""
    found = []
    for process in psutil.process_iter():
        try:
            own = process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE
            if not own and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # another user's, or gone
    return found


def print_skipped(path: Path) -> None:
    """tests/conftest.py writes a JSON line for each test that could not run."""
    lines = path.read_text().splitlines() if path.exists() else []
    reasons: dict[str, set[str]] = {}
    for line in lines:
        test, reason = json.loads(line)
        reasons.setdefault(reason, set()).add(test)
    print("\nCould not run here:" if reasons else "\nEverything could run here.")
    for reason, tests in sorted(reasons.items()):
        shown = ", ".join(sorted(tests)[:3]) + (", …" if len(tests) > 3 else "")
        print(f"  {reason}: {len(tests)} test{'s' * (len(tests) > 1)} ({shown})")


def print_table(outcomes: list[Outcome]) -> None:
    print(f"\n{'part':<20}{'seconds':>9}{'budget':>8}  ")
    for outcome in outcomes:
        over = outcome.seconds > outcome.part.budget
        verdict = outcome.failure and f"FAILED: {outcome.failure}"
        verdict = verdict or ("ok, but over its budget" if over else "ok")
        part = outcome.part
        print(f"{part.name:<20}{outcome.seconds:>9.1f}{part.budget:>8.0f}  {verdict}")
    seconds = sum(outcome.seconds for outcome in outcomes)
    budget = sum(outcome.part.budget for outcome in outcomes)
    print(f"{'all':<20}{seconds:>9.1f}{budget:>8.0f}\n")


if __name__ == "__main__":
    # Told to stop, it still ends the part that runs, which has a process group of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    sys.exit(main(parts_of(sys.argv[1])))
