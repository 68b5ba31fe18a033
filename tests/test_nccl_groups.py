"""How a group forms and leaves on NCCL, without a GPU: a stand-in for torch's ProcessGroupNCCL,
whose work ends when the test says so. What NCCL makes of it only GPUs show (`make test-gpu`)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import DistBackendError

from labkit.collectives import waiting
from labkit.collectives.detection import Farewell, Listener
from labkit.collectives.group import Group
from labkit.collectives.link import Abandoned
from labkit.collectives.links import torch_p2p
from labkit.collectives.links.torch_p2p import TorchLink, wait_for_the_left
from labkit.collectives.waiting import missing
from labkit.view import PeerLost, View

PAIR = View(1, (0, 1))


class StandIn:
    """Of place 0 of two. What it has on the GPU ends while `others` take part, or when aborted."""

    def __init__(self, others: bool = True) -> None:
        self.others = threading.Event()
        if others:
            self.others.set()
        self.asked: list[str] = []
        self.aborted = threading.Event()
        self.may_abort = threading.Event()
        self.may_abort.set()
        self.aborting: threading.Thread | None = None

    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 2

    def eager_connect_single_device(self, device: torch.device) -> None:
        self.asked.append("connect")

    def allreduce(self, tensors: list[Tensor], options: Any = None) -> StandIn:
        self.asked.append("all-reduce")
        return self

    def _start_coalescing(self) -> None:
        self.asked.append("group")

    def recv(self, tensors: list[Tensor], source: int, tag: int) -> None:
        self.asked.append("receive")

    def send(self, tensors: list[Tensor], to: int, tag: int) -> None:
        self.asked.append("send")

    def _end_coalescing(self) -> StandIn:
        return self

    def is_completed(self) -> bool:
        return self.others.is_set() or self.aborted.is_set()

    def wait(self) -> None:
        if not self.is_completed():
            self.asked.append("the stream waits, and whatever comes behind it")

    def abort(self) -> None:
        self.asked.append("abort")
        self.aborting = threading.current_thread()
        assert self.may_abort.wait(10)
        self.aborted.set()

    def shutdown(self) -> None:
        self.asked.append("shutdown")
        if not self.others.is_set():
            raise DistBackendError("NCCL timeout")


class Told:
    """A failure detector that hands out the group."""

    def subscribe(self, view: View, listener: Listener) -> Callable[[], None]:
        self.listener = listener
        return lambda: None


@pytest.fixture(autouse=True)
def nobody_is_leaving() -> Iterator[None]:
    yield
    wait_for_the_left()
    assert not torch_p2p._leaving


def formed(nccl: StandIn, told: Told) -> Group:
    return Group(PAIR, 0, lambda: (TorchLink(nccl, "nccl"), nccl), told)


def test_it_is_formed_when_a_collective_of_all_has_ended() -> None:
    nccl = StandIn()
    group = formed(nccl, Told())
    assert nccl.asked == ["connect", "all-reduce"]
    group.close()
    wait_for_the_left()
    assert nccl.asked[2:] == ["shutdown"]


def test_a_group_that_all_leave_is_aborted_when_one_of_them_dies_then() -> None:
    nccl = StandIn()
    group = formed(nccl, Told())
    nccl.others.clear()
    group.close()
    wait_for_the_left()
    assert nccl.asked[2:] == ["shutdown", "abort"]


def test_who_does_not_come_ends_the_forming_and_what_is_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_p2p, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "GRACE", 0.1)  # nobody explains it
    nccl = StandIn(others=False)
    with pytest.raises(Abandoned, match="heard nothing"):
        formed(nccl, Told())
    assert nccl.aborted.wait(10)


def test_a_member_that_dies_ends_the_forming_and_what_is_on_the_gpu() -> None:
    """Long before those who connect would give up."""
    nccl, told = StandIn(others=False), Told()
    connecting = threading.Event()
    nccl.allreduce = lambda tensors, options=None: connecting.set() or nccl  # type: ignore[assignment, method-assign, func-returns-value]

    def die() -> None:
        assert connecting.wait(10)
        told.listener.on_death(1)

    threading.Thread(target=die).start()
    with pytest.raises(PeerLost):
        formed(nccl, told)
    assert nccl.aborted.wait(10)


def test_a_group_that_is_left_before_it_has_a_link_is_aborted_when_it_has() -> None:
    nccl, told = StandIn(others=False), Told()
    made, left = threading.Event(), threading.Event()

    def form() -> tuple[TorchLink, StandIn]:
        made.set()
        assert left.wait(10)  # as in the store, where it waits for a member
        return TorchLink(nccl, "nccl"), nccl

    def die() -> None:
        assert made.wait(10)
        told.listener.on_death(1)

    threading.Thread(target=die).start()
    with pytest.raises(PeerLost):
        Group(PAIR, 0, form, told)
    left.set()
    assert nccl.aborted.wait(10)
    assert nccl.asked.count("abort") == 1


def test_who_has_completed_a_collective_and_died_may_not_have_sent_all() -> None:
    """Its data are in a buffer of its GPU, and are gone. Over sockets they are on their way."""
    nccl, told = StandIn(), Told()
    group = formed(nccl, told)
    nccl.others.clear()
    pending = group.all_reduce_async(torch.ones(8))
    group.on_farewell(1, Farewell(PAIR, group.started))
    assert missing(group, pending.pending) is None
    group.on_death(1)
    with pytest.raises(PeerLost):
        pending.wait()


def test_the_groups_thread_gives_its_work_to_the_callers_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else NCCL might send what the caller has yet to compute."""
    nccl = StandIn()
    group = formed(nccl, Told())
    mine, threads = object(), []

    @contextlib.contextmanager
    def stream(used: object) -> Iterator[None]:
        assert used is mine
        threads.append(threading.current_thread())
        nccl.asked.append("into the caller's stream")
        yield
        nccl.asked.append("out of it")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: mine)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    group.all_reduce(torch.ones(8), algorithm="builtin")
    assert threads == [group.thread]
    assert nccl.asked[-3:] == ["into the caller's stream", "all-reduce", "out of it"]
    group.close()


@pytest.mark.parametrize("algorithm", ["ring", "builtin"])
def test_survivors_leave_a_collective_and_abort_it(algorithm: str) -> None:
    """Not on the thread that trains, for an abort may take its time."""
    nccl, told = StandIn(), Told()
    group = formed(nccl, told)
    nccl.others.clear()
    nccl.may_abort.clear()
    pending = group.all_reduce_async(torch.ones(8), algorithm=algorithm)
    told.listener.on_death(1)
    with pytest.raises(PeerLost):
        pending.wait()
    assert group.abandoned
    assert not nccl.aborted.is_set()
    nccl.may_abort.set()
    assert nccl.aborted.wait(10)
    assert nccl.aborting not in (threading.current_thread(), group.thread)
    assert nccl.asked.count("abort") == 1
    assert "the stream waits, and whatever comes behind it" not in nccl.asked


def test_the_next_group_is_formed_when_the_last_is_gone_from_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for one that does not go."""
    nccl = StandIn()
    link = TorchLink(nccl, "nccl")
    nccl.may_abort.clear()
    link.abandon()
    monkeypatch.setattr(torch_p2p, "LEAVE_SECONDS", 0.1)
    wait_for_the_left()
    assert not nccl.aborted.is_set()
    monkeypatch.setattr(torch_p2p, "LEAVE_SECONDS", 10.0)
    threading.Timer(0.1, nccl.may_abort.set).start()
    wait_for_the_left()
    assert nccl.aborted.is_set()
