"""What JupyterLab with a notebook and a training cluster takes: `labkit bench memory`.

The proportional share (PSS) of every process below the server: JupyterLab, one kernel that has
drawn a picture, the fork server and four ranks that have trained. Linux alone tells the PSS; it
counts what forked ranks share once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from labkit.bench import picture, report
from labkit.views.progress import progress

RANKS = 4
TOTAL = "JupyterLab with four ranks, PSS"
AIMS = [report.Aim(TOTAL, "<", 1500.0)]  # MB
NOTEBOOK = f"""
from labkit import Cluster
from labkit.training import train
cluster = Cluster({RANKS})
run = cluster.run(train, steps=60).wait()
run.timeline()
"""


def megabytes(process: psutil.Process) -> float:
    return process.memory_full_info().pss / 1e6


def measure() -> dict[str, float]:
    """Megabytes by part. Starts a real server on loopback, with its token, and a real kernel."""
    from jupyter_client.manager import start_new_kernel

    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": folder, "LABKIT_RUNS": folder}
        options = ["--no-browser", "--port=0", f"--ServerApp.root_dir={folder}"]
        if os.geteuid() == 0:
            options.append("--allow-root")
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        manager, client = start_new_kernel(kernel_name="python3", env=environment)
        try:
            for line in server.stderr or ():  # it prints its address once it serves
                if "token=" in line:
                    break
            client.execute_interactive(NOTEBOOK, timeout=120, output_hook=lambda message: None)
            kernel = psutil.Process(manager.provisioner.pid)  # type: ignore[union-attr]
            fork_server, *ranks = kernel.children(recursive=True)
            return {
                "JupyterLab": megabytes(psutil.Process(server.pid)),
                "kernel": megabytes(kernel),
                "fork server": megabytes(fork_server),
                f"{len(ranks)} ranks": sum(map(megabytes, ranks)),
            }
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            server.kill()
            server.communicate()


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    starts = range(1 if quick else 3)
    parts = [measure() for _ in progress(starts, "memory", unit="start")]
    rows = [report.row(name, "ours", "MB", [part[name] for part in parts]) for name in parts[0]]
    rows.append(report.row(TOTAL, "ours", "MB", [sum(part.values()) for part in parts]))
    report.show(rows)
    if json:
        report.write(json, rows)
    if plot:
        picture.durations([picture.Panel("Megabytes (PSS)", rows, AIMS[0].limit)]).savefig(plot)
    return report.misses(rows, AIMS) if check else 0


if __name__ == "__main__":
    sys.exit(main())
