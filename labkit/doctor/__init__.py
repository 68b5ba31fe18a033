"""`labkit doctor`: what this machine allows, measured, and what to do where it is not enough.

What is measured and how it is judged are apart, so that judgements can be tested on the figures of
machines that nobody here has.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable

import msgspec

from labkit import runs
from labkit.doctor import judge, measure
from labkit.doctor.judge import Finding
from labkit.runtime.machine import Machine, detect


def checks(machine: Machine) -> dict[str, Callable[[], Finding]]:
    place = runs.root()
    return {
        "python": lambda: judge.python(sys.version_info[:2], platform.python_version()),
        "torch": lambda: judge.torch(measure.version_of("torch"), machine),
        "MPI": lambda: judge.mpi(measure.version_of("mpi4py"), measure.mpiexec()),
        "GPUs": lambda: judge.gpus(machine),
        "NCCL": lambda: judge.nccl(machine, measure.nccl()),
        "cores": lambda: judge.cores(machine.cores, os.getloadavg()[0]),
        "memory": lambda: judge.memory(machine.memory),
        "limits": lambda: judge.limits(machine.processes, machine.open_files),
        "runs folder": lambda: judge.space(place, measure.free_space(place)),
        "fsync": lambda: judge.fsync(measure.time_fsync(place)),
        "/dev/shm": lambda: judge.shared_memory(measure.free_shared_memory()),
        "clock": lambda: judge.clock(measure.time_timers()),
        "priority": lambda: judge.priority(measure.may_go_first()),
        "loopback": lambda: judge.loopback(measure.time_loopback()),
        "host name": lambda: judge.name(*measure.time_name()),
        "fork server": lambda: judge.fork_server(*measure.fork_server()),
        "hosts": lambda: judge.hosts(measure.why_no_hosts()),
        "address": lambda: judge.address(*measure.address()),
        "ports": lambda: judge.ports(*measure.ports()),
        "Slurm": lambda: judge.slurm(*measure.slurm()),
        "left behind": lambda: judge.left(measure.left_behind()),
    }


def examine() -> list[Finding]:
    """All checks in turn; takes a few seconds. One that raises is a finding too."""
    machine = detect()
    findings = []
    for name, check in checks(machine).items():
        try:
            findings.append(check())
        except Exception as error:
            found = f"could not be checked: {type(error).__name__}: {error}"
            findings.append(Finding(name, "warn", found, "look into it before you trust the rest"))
    return findings


def show(findings: Iterable[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table("", "", "found", "what to do", box=None, pad_edge=False)
    for f in findings:
        table.add_row(f"[{colours[f.state]}]{f.state}[/]", f.name, f.found, f.advice)
    Console(highlight=False).print(table)


def as_json(findings: Iterable[Finding]) -> str:
    return msgspec.json.format(msgspec.json.encode(list(findings)), indent=2).decode()
