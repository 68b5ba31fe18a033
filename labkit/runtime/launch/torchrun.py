"""Workers started by torchrun: one elastic agent a rank, which replaces it when it dies.

An agent restarts *all* of its workers when one of them dies (torch.distributed.elastic, "Train
script"); with one worker an agent that is the right thing, as a pod of its own is in Kubernetes.
Agents of one node each need no rendezvous with the others: the lab's workers find each other. So
each has its own, in a file: torch's `--standalone` would have two servers listen at all addresses
of this machine (TCPStore), for whoever finds them.
"""

from __future__ import annotations

from pathlib import Path

from labkit.runtime.launch import leash
from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.launch.process import QUIET, OnExit, OnOutput, Process, import_path, python
from labkit.runtime.loop import Loop


class TorchrunLauncher(Launcher):
    """An agent gives its rank `max_restarts` further lives, and counts them by itself. The witness
    and the spares, which are no ranks, are started without one."""

    name = "torchrun"
    replaces = True

    def __init__(self, loop: Loop, world_size: int, max_restarts: int) -> None:
        super().__init__(loop)
        self.world_size, self.max_restarts = world_size, max_restarts
        self.agents: dict[int, Process] = {}

    def start(
        self,
        join: str,
        ranks: list[tuple[int, int]],
        environment: dict[str, str],
        on_output: OnOutput,
        on_exit: OnExit,
    ) -> list[Process]:
        environment = {**QUIET, **environment, "PYTHONPATH": import_path(), "PYTHONSAFEPATH": "1"}
        started: list[Process] = []
        for rank, life in ranks:
            agent = self.agents.get(rank)
            if agent is not None and agent.code is None:
                agent.become((rank, life))  # which it is about to start, or has
                continue
            files = leash.folder()
            own = {**environment, "LABKIT_RANK": str(rank), "LABKIT_LIFE": str(life)}
            command = [*python("labkit.worker"), "--join", join]
            if is_rank := 0 <= rank < self.world_size:
                own["LABKIT_LIFE"] = "-1"  # the driver counts
                own["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # the other server
                command = [*self._agent(files), *command[2:]]
            members = [(rank, life)]
            process = leash.Leashed(command, files, members, self.loop, own, on_output, on_exit)
            if is_rank:
                self.agents[rank] = process
            started.append(process)
        return started

    def _agent(self, files: Path) -> list[str]:
        return [
            *python("torch.distributed.run"),
            *("--nnodes=1", "--nproc-per-node=1", "--monitor-interval=0.1"),
            *("--rdzv-backend=c10d", "--rdzv-conf=store_type=file"),
            *(f"--rdzv-endpoint={files / 'rendezvous'}", f"--rdzv-id={files.name}"),
            *(f"--max-restarts={self.max_restarts}", f"--log-dir={files}"),
        ]
