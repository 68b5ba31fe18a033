"""`Cluster`: real worker processes, and the verbs that break them."""

from __future__ import annotations

import operator
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from labkit import faults
from labkit.runs import new_run
from labkit.runtime import notebook
from labkit.runtime.driver import Driver
from labkit.runtime.inject import check, check_reach, checked, inject
from labkit.runtime.launch import launcher_for, machines_of
from labkit.runtime.loop import Loop
from labkit.runtime.machine import detect
from labkit.runtime.placement import Placement, place, too_many_beats
from labkit.runtime.run import Run
from labkit.runtime.ship import pack, pack_protocols
from labkit.runtime.spelling import spelled


class Cluster:
    """`world_size` worker processes, one a rank, ready to run functions.

    Who belongs to the cluster they agree on by majority, with one more process, the *witness*: four
    ranks survive two deaths at once, two ranks one. With fewer left the survivors wait.

    `backend` is "nccl", "gloo" or "auto": NCCL with one GPU a rank when there are enough, else
    Gloo. `device` is "cpu", "cuda" or "auto". `launcher` is "local" (this machine), "mpi"
    (`mpiexec` starts the workers), "torchrun" (an elastic agent a rank), "slurm" (`srun`, in an
    allocation) or "outside" (somebody else does); unless given it is what LABKIT_LAUNCHER says,
    else "local": so a notebook runs unchanged where there are many machines. With
    `hosts="namespaces"` each rank, and the witness, has a network namespace of its own for a host,
    on a bridge without a way out: partitions, delays and losses then are the network's, for Gloo
    and everything else, and a host can be lost whole.
    `deadline` is the most seconds that a collective may take, `patience` how long a wait without
    time-out goes on when no rank is heard. A rank whose connections close is gone; with `silence`,
    so is one that has said nothing for so many seconds (the one sign of a lost host: unless given
    it is 1 s with `hosts`, and 3 s where the workers are on several machines), and should it only
    have stood still it ends when it goes on. In an elastic run the launcher starts a rank that
    died, in it or before, anew, `max_restarts` times in all (torchrun's agents: each its rank); of
    `spares`, processes that have warmed up and wait, one takes the rank. `protocols` are classes of
    `labkit.protocols` (or `functools.partial`s of them) by name: each rank runs a node of each,
    next to its training, with a disk that outlives it.
    Returns when all ranks are ready; raises ValueError, before anything is started, for what cannot
    work here, and PermissionError for hosts that this process may not make.

    A context manager, and of use without `with`: the workers end with `close()`, when nothing
    refers to the cluster any more, when its notebook cell runs again, when this process exits,
    and when it is killed.
    """

    def __init__(
        self,
        world_size: int = 4,
        backend: str = "auto",
        device: str = "auto",
        launcher: str | None = None,
        *,
        hosts: str | None = None,
        seed: int = 0,
        deadline: float = 60.0,
        patience: float = 60.0,
        silence: float | None = None,
        max_restarts: int = 0,
        spares: int = 0,
        record: bool = True,
        protocols: Mapping[str, Any] | None = None,
    ) -> None:
        seed = operator.index(seed)
        if not deadline > 0 or not patience > 0:
            raise ValueError(f"deadline={deadline} and patience={patience} are seconds above 0")
        if silence is not None and not silence > 0:
            raise ValueError(f"silence={silence} is not a number of seconds above 0")
        spares = operator.index(spares)
        if spares < 0:
            raise ValueError(f"spares={spares}: a number of processes, 0 or more")
        if launcher is None:
            launcher = "local" if hosts else os.environ.get("LABKIT_LAUNCHER", "local")
        if launcher == "outside" and spares:
            raise ValueError("launcher='outside' starts nobody, and so no spares: leave them out")
        max_restarts = operator.index(max_restarts)
        make_launcher = launcher_for(launcher, hosts, seed, world_size, max_restarts)
        machine = detect("slurm" if launcher == "slurm" else "local")
        machine = replace(machine, hosts=machines_of(launcher))  # each taken to be like this one
        placement = place(world_size, backend, device, machine=machine)
        packed = pack_protocols(protocols or {})
        directory = new_run() if record else None
        loop = driver_loop()
        starts = make_launcher(loop)
        silence = starts.silence if silence is None else silence
        beats = None if silence is None else too_many_beats(world_size, silence, machine)
        for warning in filter(None, (placement.warning, beats)):
            print(f"WARNING: {warning}", file=sys.stderr, flush=True)
        self._driver = Driver(
            placement,
            starts,
            loop,
            directory,
            seed=seed,
            deadline=deadline,
            patience=patience,
            protocols=packed,
            silence=silence,
            max_restarts=max_restarts,
            spares=spares,
        )
        self._panel: Any = None
        self._finalizer = weakref.finalize(self, self._driver.close)
        notebook.replaces_that_of_its_cell(self)
        try:
            self._driver.supervisor.wait_ready(starts.start_seconds, new=True)
            self._driver.supervisor.spares.wait(starts.start_seconds)
        except BaseException:
            self.close()
            raise

    # -- life

    def __enter__(self) -> Cluster:
        self._driver.in_block = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all workers and waits until they are gone; a panel becomes a picture."""
        self._finalizer()
        if self._panel is not None:
            self._panel.leave()

    def __repr__(self) -> str:
        if self._driver.closed:
            return f"<a closed cluster of {self.world_size} ranks>"
        alive = len(self._driver.living())
        return f"<a cluster of {self.world_size} ranks, {alive} alive: {self.placement}>"

    @property
    def world_size(self) -> int:
        return self._driver.world_size

    @property
    def witness(self) -> int:
        """The number of the worker that votes on views and does not train; `kill` takes it too."""
        return self._driver.witness

    @property
    def placement(self) -> Placement:
        """Which device and backend each rank has, and why."""
        return self._driver.placement

    @property
    def directory(self) -> Path | None:
        """Where this cluster's events are recorded."""
        return self._driver.directory

    # -- work

    def run(
        self,
        function: Callable[..., Any],
        /,
        *,
        faults: faults.FaultPlan | Sequence[faults.At] = (),
        elastic: bool = False,
        **arguments: Any,
    ) -> Run:
        """Starts `function(worker, **arguments)` on every living rank, and returns at once.

        The function may be defined in the notebook; what it refers to goes with it. `await` the
        returned run, or call its `wait()`. A run that is still under way is cancelled. An `elastic`
        one also runs on the ranks that come back before it is over. Raises
        TypeError, naming it, for a function or an argument that cannot be sent.
        """
        self._check_open()
        plan = checked(self._driver, faults)
        payload = pack(function, arguments)
        name = getattr(function, "__name__", type(function).__name__)
        driver = self._driver
        run = driver.start(payload, name, plan, driver.seed, driver.deadline, elastic)
        run.plan, run.call = plan, spelled(name, elastic, arguments)
        with run.changed:
            run.keep = None if run.done else self
        return run

    # -- faults

    def kill(self, rank: int) -> None:
        """SIGKILL: the rank's process ends between two instructions."""
        self._inject(faults.Kill(operator.index(rank)))

    def pause(self, rank: int, seconds: float | None = None) -> None:
        """SIGSTOP: the rank stands still, its sockets open; for `seconds`, or until `resume`. Of
        pauses that overlap the longest counts."""
        self._inject(faults.Pause(operator.index(rank), seconds))

    def resume(self, rank: int) -> None:
        """SIGCONT: the end of all its pauses."""
        self._inject(faults.Resume(operator.index(rank)))

    def slow(self, rank: int, factor: float) -> None:
        """The rank's computing takes `factor` times as long; its messages stay on time."""
        if factor < 1:
            raise ValueError(f"a slow rank takes at least as long as before: factor {factor} < 1")
        self._inject(faults.Slow(operator.index(rank), factor))

    def partition(self, *groups: Sequence[int]) -> None:
        """Nothing passes between the groups: `partition([0, 1], [2, 3])`."""
        self._inject(faults.Partition(tuple(tuple(group) for group in groups)))

    def cut(self, source: int, target: int) -> None:
        """One way: what `source` sends to `target` does not arrive."""
        self._inject(faults.Cut(source, target))

    def delay(self, source: int, target: int, seconds: float) -> None:
        """What `source` sends to `target` arrives `seconds` later."""
        self._inject(faults.Delay(source, target, seconds))

    def drop(self, source: int, target: int, probability: float) -> None:
        """Each message from `source` to `target` is lost with this probability."""
        if not 0 <= probability <= 1:
            raise ValueError(f"a probability lies between 0 and 1, not at {probability}")
        self._inject(faults.Drop(source, target, probability))

    def bandwidth(self, source: int, target: int, rate: float) -> None:
        """The link from `source` to `target` carries `rate` bytes a second. Needs `hosts`."""
        if not rate > 0:
            raise ValueError(f"a link carries more than 0 bytes a second, not {rate}")
        self._inject(faults.Bandwidth(source, target, rate))

    def link_down(self, rank: int, seconds: float | None = None) -> None:
        """Pulls the cable of the rank's host, which is thus lost: no packet passes, and nobody is
        told. For `seconds`, or until `link_up`. Needs `hosts`."""
        self._inject(faults.LinkDown(operator.index(rank), seconds))

    def link_up(self, rank: int) -> None:
        """Puts the cable of the rank's host back. Needs `hosts`."""
        self._inject(faults.LinkUp(operator.index(rank)))

    def heal(self) -> None:
        """Links and speeds are as before. The dead stay dead, the paused paused."""
        self._inject(faults.Heal())

    def restart(self, *ranks: int) -> None:
        """New processes take the ranks, or those of all who are dead, and join the next view.
        Raises RuntimeError when there is none in 30 s: as long as most voters are dead, nobody can
        agree on one."""
        self._check_open()
        ranks = tuple(map(operator.index, ranks)) or self._driver.dead()
        for rank in ranks:
            check(self._driver, faults.Restart(rank))
            check_reach(self._driver, faults.Restart(rank))
        self._driver.restart(*ranks)

    def inject(self, fault: faults.Fault) -> None:
        """A fault as data: `cluster.inject(Kill(2))` is `cluster.kill(2)`."""
        self._inject(fault)

    def status(self) -> Any:
        """A table of the ranks: state, view, step, device, memory, and the GPU's use if any."""
        from labkit.runtime.status import rows
        from labkit.views.status import status_table

        return status_table(rows(self._driver))

    def panel(self, present: bool = False) -> Any:
        """A live panel for the notebook: a row of buttons for each rank, and what they do. With
        `present`, large enough for a projector. Asked again, it is the same panel."""
        from labkit.runtime.panel import ClusterStage
        from labkit.views.panel.live import LivePanel

        self._check_open()
        if self._panel is None:
            self._panel = LivePanel(ClusterStage(self._driver), present)
        self._panel.front.present = present
        return self._panel

    def stacks(self) -> Any:
        """A table of what each rank is doing, down to the line of code; `verdict` says who keeps
        whom waiting, and `dumps` has the whole stacks. Also while collectives hang."""
        from labkit.runtime.stacks import stacks

        self._check_open()
        return stacks(self._driver)

    # -- inside

    def _inject(self, fault: faults.Fault) -> None:
        self._check_open()
        check(self._driver, fault)
        check_reach(self._driver, fault)
        inject(self._driver, fault)

    def _check_open(self) -> None:
        if self._driver.closed:
            raise RuntimeError("this cluster is closed: make a new one, Cluster(...)")


_loop: tuple[int, Loop] | None = None
_lock = threading.Lock()


def driver_loop() -> Loop:
    """The one loop of this process (a fork of it gets its own)."""
    global _loop
    with _lock:
        if _loop is None or _loop[0] != os.getpid():
            loop = Loop("labkit driver", lambda text: print(text, file=sys.stderr))
            loop.start()
            _loop = (os.getpid(), loop)
        return _loop[1]
