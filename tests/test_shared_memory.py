"""Shared memory between the threads of this process: quick, so many cases. And how a rank waits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from labkit import collectives, faults
from labkit.collectives import Abandoned, polling
from labkit.collectives import shared_memory as algorithm
from labkit.collectives.links import segment
from labkit.collectives.links.memory import memory_links
from labkit.collectives.links.shared_memory import SharedMemoryLink

DEADLINE = 60.0  # seconds, for everything that the ranks of one test do; they take less than one
WAYS = ["", "1"]  # LABKIT_PORTABLE: with Linux's own aids, and without


class Words:
    """A store: `get` waits for `set`."""

    def __init__(self) -> None:
        self.words: dict[str, bytes] = {}
        self.changed = threading.Condition()

    def set(self, key: str, value: bytes) -> None:
        with self.changed:
            self.words[key] = value
            self.changed.notify_all()

    def get(self, key: str) -> bytes:
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.words, 20), f"nobody set {key}"
            return self.words[key]


def on_ranks(size: int, work: Callable[[SharedMemoryLink], Any]) -> list[Any]:
    """What `work(link)` returns, or raises, at each rank."""
    words = Words()
    results: list[Any] = [None] * size

    def rank(place: int) -> None:
        try:
            results[place] = work(SharedMemoryLink(place, size, words, deadline=20.0))
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=rank, args=(r,), daemon=True) for r in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=DEADLINE)
        assert not thread.is_alive(), "a rank hangs"
    return results


@pytest.fixture(params=WAYS)
def either_way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_PORTABLE", request.param)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and blocks so small that little tensors need many."""
    from labkit.collectives.links import shared_memory as link

    monkeypatch.setattr(link, "PIECE", 4096)
    monkeypatch.setattr(algorithm, "PIECE", 4096)
    monkeypatch.setattr(algorithm, "BLOCK", 64)


@pytest.mark.parametrize("size", range(1, 7))
def test_all_reduce_in_shared_memory(size: int, small: None, either_way: None) -> None:
    """Private tensors and those in a bucket, in any mixture; several calls in a row."""
    cases = [
        (dtype, elements, op)
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int16, torch.uint8)
        for elements in (0, 1, 5, 1023, 1024, 5000)
        for op in ("sum", "min", "prod")
    ]

    def work(link: SharedMemoryLink) -> None:
        bucket = link.bucket(80_000)
        for dtype, elements, op in cases:
            rows = torch.arange(elements * size).view(size, elements) % 3
            wide = {"sum": rows.sum(0), "min": rows.amin(0), "prod": rows.prod(0)}[op]
            private = rows[link.rank].to(dtype)
            inside = bucket[64 : 64 + private.nbytes].view(dtype)
            inside.copy_(private)
            for tensor in (private, inside):
                collectives.all_reduce(link, tensor, op, "shared_memory")
                assert tensor.equal(wide.to(dtype)), (dtype, elements, op)

    for result in on_ranks(size, work):
        assert result is None, result


def test_what_lies_beside_a_tensor_in_a_bucket_is_untouched(either_way: None) -> None:
    def work(link: SharedMemoryLink) -> Tensor:
        bucket = link.bucket(4 * 100).view(torch.float32)
        bucket.fill_(link.rank)
        collectives.all_reduce(link, bucket[10:20], "sum", "shared_memory")
        collectives.barrier(link)
        return bucket

    for rank, bucket in enumerate(on_ranks(3, work)):
        assert bucket[10:20].tolist() == [3.0] * 10
        assert bucket[:10].tolist() + bucket[20:].tolist() == [float(rank)] * 90


def test_rounding_is_the_same_on_all_ranks(small: None) -> None:
    def work(link: SharedMemoryLink) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(link.rank)
        private = torch.randn(5000, generator=draw)
        bucket = link.bucket(20_000).view(torch.float32).copy_(private)
        for tensor in (private, bucket):
            collectives.all_reduce(link, tensor, "avg", "shared_memory")
        return private, bucket

    first, *others = on_ranks(4, work)
    rows = [torch.randn(5000, generator=torch.Generator().manual_seed(r)) for r in range(4)]
    for tensors in (first, *others):
        for got, same in zip(tensors, first, strict=True):
            torch.testing.assert_close(got, torch.stack(rows).mean(0))
            assert got.equal(same)


def test_traffic_in_shared_memory_is_the_rings() -> None:
    def work(link: SharedMemoryLink) -> tuple[int, int]:
        bucket = link.bucket(8000)
        before = link.traffic.copy()
        collectives.all_reduce(link, bucket, "max", "shared_memory")
        collectives.all_reduce(link, torch.ones(2000), "sum", "shared_memory")
        after = link.traffic - before
        return after.sent_bytes, after.received_bytes

    assert on_ranks(4, work) == [(2 * 2 * 3 * 2000,) * 2] * 4


@pytest.mark.parametrize("where", ["op", "size", "type", "place"])
def test_ranks_that_disagree_in_shared_memory_are_told(where: str) -> None:
    def work(link: SharedMemoryLink) -> None:
        odd = link.rank == 1
        tensor = link.bucket(400)[: 200 if odd and where == "size" else 100]
        if odd and where == "place":
            tensor = tensor.clone()
        if odd and where == "type":
            tensor = tensor.view(torch.int8)
        op = "min" if odd and where == "op" else "max"
        collectives.all_reduce(link, tensor, op, "shared_memory")

    results = on_ranks(3, work)
    assert [type(r) for r in results] == [ValueError] * 3
    assert all("do not agree" in str(r) for r in results)


def test_a_message_of_another_size_is_refused() -> None:
    def work(link: SharedMemoryLink) -> None:
        if link.rank == 0:
            link.send(torch.ones(5), 1)
        else:
            link.receive(torch.ones(6), 0)

    _, error = on_ranks(2, work)
    assert isinstance(error, ValueError)
    assert "expects 24 bytes and was sent 20" in str(error)


def test_shared_memory_that_is_full(either_way: None) -> None:
    """Told to every rank in one sentence, and the link is as good as before."""

    def work(link: SharedMemoryLink) -> str:
        try:
            link.bucket(1 << 55)
        except MemoryError as error:
            collectives.all_reduce(link, torch.ones(10), "sum", "shared_memory")
            assert link.bucket(100).numel() == 100
            return str(error)
        raise AssertionError

    words = on_ranks(3, work)
    assert len(set(words)) == 1
    assert words[0].startswith("shared memory is full: ")
    assert "use a smaller bucket or fewer ranks" in words[0]


def test_a_disk_that_fills_up_while_the_file_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_PORTABLE", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(segment, "PATIENCE", 0.2)
    monkeypatch.setattr(segment, "check_room", lambda size: None)
    monkeypatch.setattr(segment, "_fill", _no_space)
    maker, other = on_ranks(2, lambda link: None)
    assert isinstance(maker, MemoryError)
    assert isinstance(other, OSError)
    assert os.listdir(tmp_path) == []


def test_memory_of_which_nobody_hears_is_given_back(either_way: None) -> None:
    """A death while a bucket is made: without a name, only its descriptor keeps the memory."""

    def announce(address: bytes | None) -> bytes:
        raise Abandoned("a peer is gone")

    before = psutil.Process().num_fds()
    with pytest.raises(Abandoned):
        segment.share(0, 1 << 20, announce, lambda: None)
    assert psutil.Process().num_fds() == before


def _no_space(descriptor: int, size: int, proof: bytes) -> None:
    raise MemoryError(segment._full(size, "No space left on device"))


def test_memory_of_a_stranger_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(segment, "PATIENCE", 0.2)
    stranger = tmp_path / "stranger"
    stranger.write_bytes(bytes(1 << 22))
    words = Words()
    words.set("shared_memory/address", b"0123456789abcdef" + str(stranger).encode())
    with pytest.raises(OSError, match=r"LABKIT_PORTABLE=1"):
        SharedMemoryLink(1, 2, words)


def test_a_cut_link_holds_an_all_reduce_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = faults.Conditions()
    monkeypatch.setattr(faults, "conditions", conditions)
    conditions.apply(faults.Cut(0, 1))

    def work(link: SharedMemoryLink) -> None:
        link.deadline = 0.2
        try:
            collectives.all_reduce(link, torch.ones(3), "sum", "shared_memory")
        finally:
            if link.rank == 1:
                conditions.apply(faults.Heal())

    held, waiting = on_ranks(2, work)
    assert isinstance(waiting, Abandoned), "rank 0 was not held"
    assert isinstance(held, Abandoned), "rank 1 had left"


# -- waiting


def test_a_poll_ends_at_its_deadline_and_when_abandoned() -> None:
    link = memory_links(2)[0]
    with pytest.raises(Abandoned, match=r"heard nothing from a peer for 0\.05 s"):
        polling.poll(link, lambda: False, deadline=0.05)
    threading.Timer(0.02, link.abandon).start()
    with pytest.raises(Abandoned, match="form a new one"):
        polling.poll(link, lambda: False)


def test_standing_still_is_not_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that sleeps, or SIGSTOP: the clock jumps by an hour, and nobody was late."""
    link = memory_links(2)[0]
    clock = iter(range(3600, 3_600_000, 3600))
    monkeypatch.setattr(polling.time, "monotonic", lambda: float(next(clock)))
    looks = iter([False] * 200 + [True])
    polling.poll(link, lambda: next(looks), deadline=60.0)


def test_a_poll_leaves_the_interpreter_to_other_threads() -> None:
    """os.sched_yield would not (Python 3.11): a thread that polls must not stop a heartbeat."""
    link = memory_links(2)[0]
    stop = threading.Event()
    poller = threading.Thread(target=polling.poll, args=(link, stop.is_set), daemon=True)
    poller.start()
    late = []
    for _ in range(200):
        begin = time.monotonic()
        time.sleep(0.0005)
        late.append(time.monotonic() - begin)
    stop.set()
    poller.join(10)
    assert not poller.is_alive()
    assert sorted(late)[100] < 0.05
