"""Which tests are slow, and the list of what could not run: no test is skipped silently."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

# Files that start many processes, open a browser, or search long. In others, slow tests are marked
# one by one.
SLOW_FILES = """
    test_bad_input test_before_cuda test_bench test_chaos test_cheats test_check test_cluster
    test_commit_processes test_corners test_crashes test_detector_matrix test_detector_processes
    test_durable test_elastic test_engine test_every_row test_exercises test_finished_panel
    test_grade test_hangs test_jail test_kernel test_keys test_kubernetes test_learner test_leash
    test_life test_links test_live_panel test_mpi_hosts test_namespaces test_numerics test_outside
    test_panel_of_a_cluster test_parts test_preemption test_raft_processes test_redundant
    test_replica test_restarts test_signals test_silence test_simulated_panel test_slurm test_spares
    test_torchrun test_training test_wire test_words test_zero
"""
SLOW = set(SLOW_FILES.split())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)
        for mark in item.iter_markers("case"):
            item.extra_keyword_matches.update(f"case_{number:02}" for number in mark.args)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if file := os.environ.get("LABKIT_GPU_REPORT"):
        write_gpu_report(terminalreporter, Path(file))
    skipped = [
        (report.nodeid.removeprefix("tests/"), _reason(report))
        for report in terminalreporter.stats.get("skipped", [])
    ]
    if not skipped:
        return
    if file := os.environ.get("LABKIT_SKIPPED"):  # `make test` lists them all at its end
        with Path(file).open("a") as lines:
            lines.writelines(json.dumps(item) + "\n" for item in skipped)
    terminalreporter.section("could not run here")
    for test, reason in skipped:
        terminalreporter.write_line(f"{test}: {reason}")


def write_gpu_report(terminalreporter: pytest.TerminalReporter, file: Path) -> None:
    """On what machine, what passed, what failed, and what it could not show: for an issue."""
    import torch

    from labkit import doctor

    sentence = cannot_show(torch.cuda.device_count())
    lines = [sentence, ""]
    lines += [f"{f.state:<5} {f.name:<12} {f.found}" for f in doctor.examine()]
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            why = _reason(report) if outcome == "skipped" else f"{report.duration:.1f} s"
            lines.append(f"{outcome:<8} {report.nodeid.removeprefix('tests/')}: {why}")
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    terminalreporter.write_line(sentence)
    terminalreporter.write_line(f"{file} is there to be attached to an issue")


def cannot_show(gpus: int) -> str:
    """What of the lab has not been measured with so many."""
    if gpus == 0:
        return "There is no GPU here that torch can use: nothing of CUDA or NCCL has been measured."
    if gpus == 1:
        return "There is one GPU here: NCCL between two has not been measured."
    return (
        f"There are {gpus} GPUs here, all on one machine: NCCL between two has not been measured."
    )


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    text = where[2] if isinstance(where, tuple) else str(where)
    return text.removeprefix("Skipped: ")
