"""What the live panel costs the notebook's kernel: `labkit bench panel`.

Eight ranks train, and the kernel awaits the run, as a cell does; the seconds of processor that its
process takes, per second, with a panel and without. What the panel adds is the difference: the rest
is the driver, which hears of every event in any case. The messages to the browser are made, encoded
and sent as ever, and a client takes them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil

from labkit.bench import picture, report
from labkit.views.progress import progress

RANKS = 8
UPDATES = "updates of the panel"
ALL, WITHOUT = "kernel with a panel", "kernel without a panel"
ADDED = "the panel costs the kernel"
AIMS = [report.Aim(ADDED, "<", 20.0), report.Aim(UPDATES, ">=", 9.0)]

SETUP = f"""
from labkit import Cluster
from labkit.training import train
cluster = Cluster({RANKS})
cluster.run(train, steps=5).wait()
"""
TRAIN = "run = await cluster.run(train, steps={steps}, batch=256)"


class Kernel:
    """A real one, and a client that counts the messages of the panel."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3")
        self.process = psutil.Process(self.manager.provisioner.pid)  # type: ignore[union-attr]
        self.updates = 0

    def run(self, code: str) -> None:
        """To the end of the cell; what the panel sends belongs to the cell that has made it."""
        cell = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=300)
            content: dict[str, Any] = message["content"]
            kind = message["msg_type"]
            if kind == "comm_msg":
                self.updates += content["data"].get("method") == "custom"
            elif message["parent_header"].get("msg_id") != cell:
                continue
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return

    def measured(self, code: str) -> tuple[float, float]:
        """Percent of a core while `code` runs, and updates a second."""
        used = self.process.cpu_times()
        begin, self.updates = time.monotonic(), 0
        self.run(code)
        now, seconds = self.process.cpu_times(), time.monotonic() - begin
        spent = now.user + now.system - used.user - used.system
        return 100 * spent / seconds, self.updates / seconds

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def measure(steps: int) -> tuple[float, float, float]:
    """Percent of a core without and with a panel, in one kernel, and updates a second."""
    kernel = Kernel()
    try:
        kernel.run(SETUP)
        without, _ = kernel.measured(TRAIN.format(steps=steps))
        kernel.run("cluster.panel()")
        with_it, updates = kernel.measured(TRAIN.format(steps=steps))
        kernel.run("cluster.close()")
    finally:
        kernel.close()
    return without, with_it, updates


def main(
    json: Path | None = None, plot: Path | None = None, check: bool = False, quick: bool = False
) -> int:
    """Measures, prints, writes what is asked for; returns how many aims were missed."""
    rounds = progress(range(1 if quick else 5), "panel", unit="round")
    found = [measure(40 if quick else 150) for _ in rounds]
    rows = [
        report.row(ALL, "ours", "%", [with_it for _, with_it, _ in found], "of a core"),
        report.row(WITHOUT, "ours", "%", [without for without, _, _ in found], "of a core"),
        report.row(ADDED, "ours", "%", [b - a for a, b, _ in found], "of a core"),
        report.row(UPDATES, "ours", "1/s", [updates for _, _, updates in found]),
    ]
    report.show(rows, [f"{RANKS} ranks train; awaited in a real kernel"])
    if json:
        report.write(json, rows)
    if plot:
        panel = picture.Panel("Percent of a core", rows[:3], AIMS[0].limit)
        picture.durations([panel]).savefig(plot)
    return report.misses(rows, AIMS) if check else 0


if __name__ == "__main__":
    sys.exit(main())
