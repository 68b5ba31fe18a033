"""Workers started by `srun`, in the allocation in which the driver runs.

Slurm's defaults undo fault tolerance: one dead task ends the step, a lost node the job. Asked to
(`--no-kill`, `--kill-on-bad-exit=0`, `--wait=0`: srun(1)) it leaves both to those who run. All
ranks of a new cluster are one step; the witness and each later life are steps of their own, which
share what the job holds (`--overlap`). A later life starts on the node that holds fewest ranks, of
those that are up.

A signal for a process on another node is a step, too.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from typing import Any

from labkit.runtime import wire
from labkit.runtime.address import host_name, route_to
from labkit.runtime.launch.launcher import AWAY_SILENCE, Launcher
from labkit.runtime.launch.process import QUIET, OnExit, OnOutput, Process, import_path, worker
from labkit.runtime.loop import Loop

STEP = [
    *("--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--mpi=none", "--export=ALL"),
    *("--overlap", "--overcommit"),  # more ranks than processors, as on any machine of the lab
]
UP = ("idle", "mix", "alloc", "comp", "resv", "plnd")
"""How sinfo's short words for a node that works begin; one that does not answer ends in a star."""
NEEDED = (
    "launcher='slurm' works within an allocation: `sbatch cluster/slurm/notebook.sbatch NOTEBOOK`, "
    "or `salloc -N4 --no-kill` first"
)
NODE_FAILURE = re.compile(r"Node failure on (\S+)")
CANNOT_START = 127
"""The exit code of a command that cannot be started, as shells have it."""
_numbers = itertools.count()


class Step(Process):
    """`name` of `job`, as its srun sees it."""

    def __init__(self, name: str, job: str, *process: Any) -> None:
        super().__init__(*process)
        self.name, self.job = name, job

    def end(self) -> None:
        """With all of its tasks: SIGKILL to srun would leave them alone. Does not wait."""
        threading.Thread(target=self._cancel, name="scancel", daemon=True).start()

    def _cancel(self) -> None:
        steps = _said("squeue", "--steps", "-h", "-j", self.job, "-o", "%i %j").splitlines()
        for id, name in map(str.split, steps):
            if name == self.name:
                _said("scancel", id)


class SlurmLauncher(Launcher):
    """Ranks that die are reported by their closed connection alone."""

    name = "slurm"
    start_seconds = 300.0  # many nodes import torch at once, from one file server

    def __init__(self, loop: Loop) -> None:
        if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
            raise RuntimeError(NEEDED)
        super().__init__(loop)
        self.job = os.environ["SLURM_JOB_ID"]
        self.nodes = nodes_up()
        self.silence = AWAY_SILENCE if len(self.nodes) > 1 else None
        self.where: dict[int, str] = {}
        self._placing = threading.Lock()

    def bind(self) -> socket.socket:
        """Where the driver listens: at the address of its route to the last node, which is not this
        machine unless there is no other."""
        return wire.bind(route_to(_address(self.nodes[-1])[0]))

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        environment = {**QUIET, **environment, "PYTHONPATH": import_path()}
        jobs = [ranks[:-1], ranks[-1:]] if len(ranks) > 1 else [ranks]
        return [self._step(join, job, environment, on_output, on_exit) for job in jobs]

    def _step(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> Process:
        alone = len(ranks) == 1
        if alone:
            rank, life = ranks[0]
            environment = {**environment, "LABKIT_RANK": str(rank), "LABKIT_LIFE": str(life)}

        def labelled(rank: int | None, line: str) -> None:
            task, colon, text = line.partition(": ")
            if not (colon and task.strip().isdigit()):
                on_output(None, line)  # srun's own
                if failed := NODE_FAILURE.search(line):
                    self._miss(failed[1], ranks)
            else:
                on_output(rank if alone else int(task), text)

        reading, writing = os.pipe()
        name = f"labkit-{os.getpid()}-{next(_numbers)}"
        process = Step(name, self.job, ranks, self.loop, reading, labelled, on_exit)

        def run() -> None:
            """Asking Slurm takes its time: not on the loop's thread."""
            code = CANNOT_START
            try:
                where = self._one_node(ranks[0][0]) if alone else self._blocks(len(ranks))
                options = [*STEP, f"--job-name={name}", "--label", *where]
                step = subprocess.Popen(
                    ["srun", *options, *worker(join)],
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=writing,
                    env=environment,
                    start_new_session=True,
                )
                os.close(writing)
                code = _code(step.wait())
            except (OSError, subprocess.SubprocessError) as error:
                os.write(writing, f"srun cannot be started: {error}\n".encode())
                os.close(writing)
            self.loop.call_soon(process.exited, code)

        threading.Thread(target=run, name="srun", daemon=True).start()
        return process

    def _miss(self, nodes: str, members: list[tuple[int, int]]) -> None:
        """Slurm has said that these nodes are lost, also of ranks that have not yet come."""

        def look() -> None:
            gone = _hostnames(nodes)
            lost = [member for member in members if self.where.get(member[0]) in gone]
            self.loop.call_soon(self.on_loss, lost)

        threading.Thread(target=look, name="scontrol", daemon=True).start()

    # -- where

    def _blocks(self, size: int) -> list[str]:
        """As many ranks on each node, in order, as `placement` takes for granted."""
        local = -(-size // len(self.nodes))
        for rank in range(size):
            self.where[rank] = self.nodes[rank // local]
        nodes = self.nodes[: -(-size // local)]
        shape = [f"-N{len(nodes)}", f"-n{size}", f"--ntasks-per-node={local}"]
        return [*shape, "--distribution=block", f"--nodelist={','.join(nodes)}"]

    def _one_node(self, rank: int) -> list[str]:
        up = nodes_up()
        with self._placing:
            self.where.pop(rank, None)
            held = Counter(self.where.values())
            node = min(up, key=lambda node: (held[node], up.index(node)), default=self.nodes[0])
            self.where[rank] = node
        return ["-N1", "-n1", f"--nodelist={node}"]

    def here(self, host: str) -> bool:
        return host == host_name()

    def run_on(self, host: str, command: list[str]) -> None:
        if host in self.nodes:
            _said("srun", "--overlap", "-N1", "-n1", f"--nodelist={host}", "-Q", *command)


def nodes_up() -> list[str]:
    """The nodes of this job that answer: an allocation that has lost some goes on without them. All
    that it was granted, where nobody can be asked."""
    held = _hostnames(_said("squeue", "-h", "-j", os.environ["SLURM_JOB_ID"], "-o", "%N").strip())
    said = _said("sinfo", "-h", "-N", "-n", ",".join(held), "-o", "%N %t")
    states = dict(line.split() for line in said.splitlines())
    up = [n for n in held if states.get(n, "").startswith(UP) and states[n][-1] != "*"]
    return list(filter(_answers, up)) or _hostnames(os.environ["SLURM_JOB_NODELIST"])


def _said(*command: str) -> str:
    """What a command of Slurm prints; nothing where that fails, or does not end within a minute,
    for the node may be the reason."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        ).stdout
    except subprocess.TimeoutExpired:
        return ""


def _hostnames(nodelist: str) -> list[str]:
    """Of n[1-4]."""
    return _said("scontrol", "show", "hostnames", nodelist).split()


def _address(node: str) -> tuple[str, int]:
    """Where its slurmd listens."""
    shown = _said("scontrol", "show", "node", node, "-o")
    facts = dict(word.partition("=")[::2] for word in shown.split())
    return facts.get("NodeAddr", node), int(facts.get("Port", "6818"))


def _answers(node: str) -> bool:
    """Slurm itself may take minutes to miss it, and would start the step there."""
    try:
        socket.create_connection(_address(node), timeout=1.0).close()
    except OSError:
        return False
    return True


def _code(code: int) -> int:
    """As subprocess has it: srun's is 128 and the number of the signal, or a number of its own."""
    return 128 - code if code - 128 in set(signal.Signals) else code
