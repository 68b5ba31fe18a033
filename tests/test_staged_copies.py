"""Tensors of a GPU over Gloo, without a GPU: a stand-in that counts.

Its tensors say that they are on "cuda:0" and have no memory that a program could reach (to torch
they are on "meta"); what they hold is behind them, and operations on them are done there. Only a
copy brings it to where Gloo can see it, and copies are counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import torch
from torch.distributed import HashStore, ProcessGroupGloo
from torch.utils._pytree import tree_map

from labkit import collectives
from labkit.collectives.links.torch_p2p import TorchLink

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
copied: Counter[str] = Counter()
"""Bytes that crossed between the devices, and pieces of pinned memory, by direction."""


class OnGpu(torch.Tensor):
    """`behind` is its memory."""

    behind: torch.Tensor
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    device = property(lambda self: GPU)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, behind: torch.Tensor) -> OnGpu:
        like: dict[str, Any] = {"dtype": behind.dtype, "strides": behind.stride()}
        made: OnGpu = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, behind.size(), device="meta", storage_offset=behind.storage_offset(), **like
        )
        made.behind = behind
        return made

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if name == "copy_":
            return _copy(args[0], args[1])
        if kwargs.pop("pin_memory", False):
            copied["pinned"] += 1
        to_host = kwargs.get("device") == CPU
        if kwargs.get("device") is not None:
            kwargs["device"] = CPU
        done = function(*tree_map(_behind, args), **tree_map(_behind, kwargs))
        if to_host:
            return done
        if name.endswith("_") and isinstance(args[0], OnGpu):
            return args[0]
        return tree_map(lambda x: OnGpu(x) if isinstance(x, torch.Tensor) else x, done)


def _behind(x: Any) -> Any:
    return x.behind if isinstance(x, OnGpu) else x


def _copy(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    if isinstance(source, OnGpu) != isinstance(target, OnGpu):
        copied["to the host" if isinstance(source, OnGpu) else "to the GPU"] += source.nbytes
    _behind(target).copy_(_behind(source))
    return target


@pytest.fixture(autouse=True)
def nothing_copied() -> None:
    copied.clear()


def on_all(size: int, act: Any) -> list[Any]:
    """What `act(link)` returns at each of `size` ranks, which are threads here."""
    store, answers = HashStore(), [None] * size

    def rank(place: int) -> None:
        options: Any = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        options._devices = [ProcessGroupGloo.create_device(hostname="127.0.0.1")]
        group = ProcessGroupGloo(store, place, size, options)
        answers[place] = act(TorchLink(group, "gloo", "cpu"))

    threads = [threading.Thread(target=rank, args=(place,)) for place in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


@pytest.mark.parametrize("algorithm", ["ring", "naive", "tree", "halving_doubling"])
def test_an_all_reduce_copies_what_it_sends_and_receives_and_no_more(algorithm: str) -> None:
    def act(link: TorchLink) -> tuple[list[float], int, int]:
        mine = OnGpu(torch.arange(10.0) + link.rank)
        total = collectives.all_reduce(link, mine, "sum", algorithm)
        assert total.is_cuda
        return _behind(total).tolist(), link.traffic.sent_bytes, link.traffic.received_bytes

    answers = on_all(3, act)

    assert [answer[0] for answer in answers] == 3 * [[3.0 * k + 3 for k in range(10)]]
    sent, received = (sum(answer[k] for answer in answers) for k in (1, 2))
    assert copied["to the host"] == sent > 0
    assert copied["to the GPU"] == received > 0


def test_each_message_is_staged_once_in_pinned_memory() -> None:
    def act(link: TorchLink) -> list[int]:
        mine, theirs = OnGpu(torch.full((5,), link.rank)), OnGpu(torch.zeros(5, dtype=torch.int64))
        link.transfer([(mine, link.right)], [(theirs, link.left)]).wait()
        return list(theirs.behind.tolist())

    assert on_all(2, act) == [[1] * 5, [0] * 5]
    assert copied == {"pinned": 4, "to the host": 2 * 40, "to the GPU": 2 * 40}


def test_without_a_copy_there_is_nothing_to_see() -> None:
    """Of the stand-in: a program that hands it to Gloo as it is gets no bytes of it."""
    tensor = OnGpu(torch.ones(3))
    assert tensor.is_cuda
    assert tensor.device == GPU
    with pytest.raises(RuntimeError):
        tensor.numpy()
    assert tensor.untyped_storage().data_ptr() == 0
