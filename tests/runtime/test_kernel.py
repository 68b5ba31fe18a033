"""The same cluster in a real notebook kernel: awaited, interrupted, restarted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from outside import running, wait_until

SETUP = """
from labkit import Cluster
def forever(worker):
    step = 0
    while True:
        step += 1
        worker.group.all_reduce(worker.tensor(10))
        worker.step(step)
def total(worker):
    import torch
    print("here")
    return worker.group.all_reduce(torch.tensor([worker.rank + 1.0])).item()
cluster = Cluster(4)
"""


class Kernel:
    """A kernel and its client: `run` executes a cell and returns what it showed."""

    def __init__(self) -> None:
        self.manager: KernelManager
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def start(self, code: str, cell: str = "a cell") -> str:
        """As JupyterLab does it: with the id of the cell that the code stands in."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def finish(self, message: str, seconds: float = 60.0) -> str:
        shown, end = "", time.monotonic() + seconds
        while time.monotonic() < end:
            reply = self.client.get_iopub_msg(timeout=seconds)
            if reply["parent_header"].get("msg_id") != message:
                continue
            content: dict[str, Any] = reply["content"]
            if reply["msg_type"] == "status" and content["execution_state"] == "idle":
                return shown
            shown += content.get("text", "") + "\n".join(content.get("traceback", []))
            shown += content.get("data", {}).get("text/plain", "")
        raise AssertionError(f"the cell did not end; it had shown {shown}")

    def run(self, code: str) -> str:
        return self.finish(self.start(code))

    def control(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        self.client.control_channel.send(self.client.session.msg(kind, content))
        answer: dict[str, Any] = self.client.get_control_msg(timeout=60)["content"]
        return answer

    def sent_by_widgets(self, count: int) -> None:
        """Waits until so many messages have come from a widget in the kernel."""
        while count:
            count -= self.client.get_iopub_msg(timeout=60)["msg_type"] == "comm_msg"

    def family(self) -> list[psutil.Process]:
        pid = self.manager.provisioner.pid  # type: ignore[union-attr]
        return psutil.Process(pid).children(recursive=True)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)


def test_a_run_is_awaited_and_shows_its_output_in_the_cell(kernel: Kernel) -> None:
    assert kernel.run(SETUP) == ""
    shown = kernel.run("run = await cluster.run(total); print(sorted(run.results.items()))")
    assert "[(0, 10.0), (1, 10.0), (2, 10.0), (3, 10.0)]" in shown
    for rank in range(4):
        assert f"[rank {rank}] here" in shown


AT_WORK = """
from labkit.runtime.watch import Watch
look = Watch.look
def say(watch):
    print("waiting", flush=True)
    look(watch)
Watch.look = say
"""


WAYS = (
    "await run",
    "run.wait()",
    "import asyncio; await asyncio.gather(run.step(10**9), run)",
)


@pytest.mark.case(8)
def test_an_interrupted_cell_says_so_and_leaves_a_cluster_that_answers(kernel: Kernel) -> None:
    for waiting in WAYS:
        kernel.run(SETUP + "run = cluster.run(forever); run.wait_step(3)")
        kernel.run(AT_WORK)
        cell, after = kernel.start(waiting), kernel.start("ran_on = True")
        while "waiting" not in kernel.client.get_iopub_msg(timeout=60)["content"].get("text", ""):
            pass
        kernel.manager.interrupt_kernel()
        last = kernel.finish(cell).strip().splitlines()[-1]
        assert "KeyboardInterrupt" in last
        assert "of forever, with rank 0 (ready" in last
        assert "the cluster is still usable: run the cell again" in last
        kernel.finish(after)
        kernel.run("Watch.look = look")
        assert "NameError" in kernel.run("ran_on"), "an interrupt ends all cells that were to run"
        assert "[10.0, 10.0, 10.0, 10.0]" in kernel.run(
            "print([v for k, v in sorted((await cluster.run(total)).results.items())])"
        )


TIME_OUT = """
import asyncio, signal
before = signal.getsignal(signal.SIGINT)
try:
    async with asyncio.timeout(0.3):
        await cluster.run(forever)
except TimeoutError as late:
    print(type(late.__cause__) is asyncio.CancelledError, signal.getsignal(signal.SIGINT) == before)
"""


def test_a_time_out_of_asyncios_own_stays_one(kernel: Kernel) -> None:
    kernel.run(SETUP)
    assert kernel.run(TIME_OUT) == "True True\n"


def test_running_the_cell_again_gives_a_fresh_cluster(kernel: Kernel) -> None:
    for _ in range(3):
        shown = kernel.run(SETUP)
        assert not shown, shown
        assert "4 alive" in kernel.run("cluster")  # Out[n] keeps no cluster alive
    wait_until(lambda: len(kernel.family()) == 6, "earlier clusters still run")
    kernel.finish(kernel.start("other = Cluster(2); another = Cluster(2)", cell="another cell"))
    assert len(kernel.family()) == 12  # clusters of another cell are others


@pytest.mark.parametrize("now", [False, True])
def test_restarting_the_kernel_leaves_no_worker(kernel: Kernel, now: bool) -> None:
    kernel.run(SETUP)
    kernel.run("run = cluster.run(forever); run.wait_step(3); cluster.pause(2)")
    family = kernel.family()
    assert len(family) == 6
    kernel.manager.restart_kernel(now=now)
    wait_until(lambda: not any(map(running, family)), f"some of {family} still run")


PANEL = """
from labkit.simulator.simulation import Simulation
from labkit.protocols.raft import Raft
from labkit.views.panel.live import LivePanel
import threading
class Stage:
    ranks, silence, closed, struck = (0, 1), None, False, threading.Event()
    def listen(self, call): pass
    def rows(self): return []
    def run(self): return None
    def inject(self, fault): self.struck.set()
stage = Stage()
panel = LivePanel(stage)
print(panel.front.comm.comm_id)
"""


def test_a_click_is_heard_after_the_thread_of_another_page_has_ended(kernel: Kernel) -> None:
    """JupyterLab has a subshell, a thread in the kernel, for the widgets of a page, and ends some
    when the page is loaded again. The panel's own thread sends ten times a second; the kernel
    awaits the answers wherever it takes the request to come from that is being answered."""
    comm = kernel.run(PANEL).strip()
    session, client = kernel.client.session, kernel.client
    subshell = kernel.control("create_subshell_request", {})["subshell_id"]
    message = session.msg("comm_info_request", {})
    message["header"]["subshell_id"] = subshell
    client.shell_channel.send(message)
    kernel.finish(message["header"]["msg_id"])
    kernel.sent_by_widgets(2)
    kernel.control("delete_subshell_request", {"subshell_id": subshell})

    data = {"method": "custom", "content": {"kind": "kill", "rank": 0}}
    click = session.msg("comm_msg", {"comm_id": comm, "data": data})
    client.shell_channel.send(click)
    kernel.finish(click["header"]["msg_id"])
    assert kernel.run("print(stage.struck.wait(10))").strip() == "True"
    kernel.run("stage.closed = True; panel.leave()")
