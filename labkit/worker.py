"""The one worker command, whoever starts it: `python -m labkit.worker --join HOST:PORT`.

`mpiexec`, `srun` or `torchrun` start it as a program, the local launcher in a child of the lab's
fork server. The token comes through the environment (LABKIT_TOKEN), never on the command line,
where every user of the machine could read it; the rank from `--rank` or from the launcher's own
variable.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

import cloudpickle
import msgspec

from labkit import events, faults
from labkit.collectives.group import left_behind
from labkit.runtime.context import Worker
from labkit.runtime.host import Host
from labkit.runtime.inspect import dump_on_signal
from labkit.runtime.memory import keep_freed_memory
from labkit.runtime.messages import Failed, Finished, Start, Welcome
from labkit.runtime.placement import visible_there
from labkit.runtime.ship import unpack
from labkit.runtime.strike import strike
from labkit.runtime.warm_up import warm_up
from labkit.runtime.wire import MAX_FRAME
from labkit.view import Member

RANK_VARIABLES = ("LABKIT_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID", "RANK")
WELCOME_SECONDS = 30.0
DRIVER_SECONDS = 90.0
"""Less than Kubernetes waits for a sign of life from a new pod (`cluster/kubernetes/lab.yaml`)."""
MANY_LEFT_BEHIND = 16
SWITCH_SECONDS = 0.0005
"""A training function in plain Python keeps the host's thread waiting so long, each time that it
wants the interpreter: with Python's own 5 ms a heartbeat comes 13 ms late, with this 3 ms."""


class Cancelled(BaseException):
    """The driver has no more use for this run."""


def main(join: str, rank: int, life: int = 0) -> None:
    """Serves the cluster at `join` until its driver is gone; does not return. A spare is started
    with a rank below 0, and has its own rank and life when it is welcomed."""
    address, port = join.rsplit(":", 1)
    token = bytes.fromhex(os.environ.pop("LABKIT_TOKEN"))
    faulthandler.enable()
    _allow_many_files()
    running = _Running()
    signal.signal(signal.SIGUSR2, running.interrupt)
    if life < 0:
        _wait_for(address, int(port))
    if spare := rank < 0:
        warm_up()
    try:
        host = Host(Member(rank, life), (address, int(port)), token, running.cancel)
    except OSError as error:
        if spare:  # the cluster has closed meanwhile
            os._exit(0)
        raise SystemExit(f"the driver at {join} cannot be reached: {error}") from None
    welcome = host.welcome.result(None if spare else WELCOME_SECONDS)
    dump_on_signal(welcome.folder, *welcome.member)
    if welcome.member.rank == welcome.world_size:
        events.record("start", "witness", pid=os.getpid())
        threading.Event().wait()  # its host does all that there is to do
    _settle(welcome)
    while (start := host.inbox.get()) is not None:
        _serve(host, welcome, start, running)


def _wait_for(address: str, port: int) -> None:
    """Who is started by somebody else may come before the driver, which has nobody to say so."""
    end = time.monotonic() + DRIVER_SECONDS
    while True:
        try:
            return socket.create_connection((address, port), timeout=WELCOME_SECONDS).close()
        except OSError as error:
            if time.monotonic() > end:
                raise SystemExit(f"there is no driver at {address}:{port}: {error}") from None
        time.sleep(1.0)


def _allow_many_files() -> None:
    """Every group that is left behind keeps its descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if sys.platform == "linux" else min(hard, 10240)  # macOS allows no more
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _settle(welcome: Welcome) -> None:
    """What has to be right before torch is used: the devices, the threads."""
    granted = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = visible_there(welcome.cuda_visible_devices, welcome.slot, granted)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    # cuBLAS's own choice may differ from run to run, and torch refuses it where exact sums ask for
    # deterministic algorithms (Context::alertCuBLASConfigNotDeterministic).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    sys.setswitchinterval(SWITCH_SECONDS)
    import torch

    torch.set_num_threads(1)  # ranks share the cores: more threads would fight over them
    keep_freed_memory()
    events.record("start", pid=os.getpid(), device=welcome.device, backend=welcome.backend)


def _serve(host: Host, welcome: Welcome, start: Start, running: _Running) -> None:
    """Runs one function and tells the driver what became of it."""
    worker = Worker(host, welcome, start)
    mine = tuple(entry for entry in start.plan if entry.striker == host.me.rank)
    faults.arm(mine, lambda fault: strike(host, fault))
    faults.conditions.random.seed(f"{start.seed} {host.me.rank}")
    host.inspector.begin(start.run, start.members, start.deadline / 2)
    try:
        running.run = start.run
        try:
            running.interrupt()  # cancelled before it began
            function, arguments = unpack(start.function)
            with events.span("run", run=start.run):
                result = _packed(function(worker, **arguments))
        finally:
            running.run = None
        outcome: Any = Finished(start.run, result)
    except Cancelled:
        outcome = Failed(start.run, "Cancelled", "the run was cancelled", "", None, None)
    except BaseException as error:
        outcome = _failed(start.run, worker, error)
    running.run = None
    host.inspector.end()
    faults.arm((), lambda fault: None)
    sys.stdout.flush()
    sys.stderr.flush()
    farewell = worker.leave()
    tired = len(left_behind) >= MANY_LEFT_BEHIND
    host.line.tell(msgspec.structs.replace(outcome, tired=tired))
    host.leave(start.run, farewell)
    with contextlib.suppress(Exception):
        worker.close()
    if worker.preempted:
        host.end(worker.why_it_leaves)


def _packed(value: Any) -> bytes:
    result = cloudpickle.dumps(value)
    if len(result) > MAX_FRAME - 4096:
        raise ValueError(
            f"the result is {len(result) >> 20} MB, too large for the wire ({MAX_FRAME >> 20} MB): "
            "return what was measured, and write the rest to a file"
        )
    return result


def _failed(run: int, worker: Worker, error: BaseException) -> Failed:
    """Whatever the exception is like, the driver hears of it."""
    pickled: bytes | None = None
    with contextlib.suppress(Exception):
        pickled = cloudpickle.dumps(error)
    if pickled is not None and len(pickled) > MAX_FRAME // 2:
        pickled = None
    try:
        text = str(error)
    except Exception as another:
        text = f"<its __str__ raised {type(another).__name__}>"
    trace = "".join(traceback.format_exception(error))
    step = worker.last_step
    return Failed(run, type(error).__name__, _clean(text), _clean(trace), step, pickled)


def _clean(text: str) -> str:
    """At most a megabyte, its end, that can be encoded."""
    return text[-(1 << 20) :].encode(errors="backslashreplace").decode()


class _Running:
    """Which run the main thread is in; a cancelled one is interrupted by a signal."""

    def __init__(self) -> None:
        self.run: int | None = None
        self.doomed: int | None = None

    def cancel(self, run: int) -> None:
        self.doomed = run
        if self.run == run:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    def interrupt(self, number: int = 0, frame: Any = None) -> None:
        if self.run is not None and self.run == self.doomed:
            raise Cancelled


def _rank(argument: int | None) -> int:
    if argument is not None:
        return argument
    for name in RANK_VARIABLES:
        if name in os.environ:
            return int(os.environ[name])
    raise SystemExit(f"which rank? give --rank, or set one of {', '.join(RANK_VARIABLES)}")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as node1:45123")
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m labkit.worker", description=__doc__)
    join = "the driver's address"
    parser.add_argument("--join", metavar="HOST:PORT", type=_address, required=True, help=join)
    parser.add_argument("--rank", type=int, help="default: the launcher's variable")
    arguments = parser.parse_args()
    if "LABKIT_TOKEN" not in os.environ:
        raise SystemExit("LABKIT_TOKEN is not set: the driver's launcher passes it on")
    if not re.fullmatch("[0-9a-fA-F]{64}", os.environ["LABKIT_TOKEN"]):
        raise SystemExit("LABKIT_TOKEN is not the driver's: that has 64 hexadecimal digits")
    main(arguments.join, _rank(arguments.rank), int(os.environ.get("LABKIT_LIFE", "0")))
