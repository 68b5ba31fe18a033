"""Every collective against a reference, over links between the threads of this process."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit import collectives, faults
from labkit.collectives import ALGORITHMS, Link, ring, segmented_ring
from labkit.collectives.links.memory import memory_links

MESSAGES = [name for name in ALGORITHMS if name != "shared_memory"]  # those that use messages
FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
DTYPES = [*FLOATS, *INTEGERS, torch.bool, torch.complex64, torch.complex128]
REFERENCE: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda rows: rows.sum(0),
    "avg": lambda rows: rows.mean(0),
    "min": lambda rows: rows.amin(0),
    "max": lambda rows: rows.amax(0),
    "prod": lambda rows: rows.prod(0),
}


def defined(op: str, dtype: torch.dtype) -> bool:
    if dtype is torch.bool:
        return op in ("min", "max")
    if dtype.is_complex:
        return op not in ("min", "max")
    return op != "avg" or dtype.is_floating_point


def on_ranks(size: int, work: Callable[[Link], Any]) -> list[Any]:
    """What `work(link)` returns on each of `size` ranks; the first error frees the others."""
    links = memory_links(size)
    results: list[Any] = [None] * size
    errors: list[Exception] = []

    def rank(link: Link) -> None:
        try:
            results[link.rank] = work(link)
        except Exception as error:
            errors.append(error)
            for other in links:
                other.abandon()

    threads = [threading.Thread(target=rank, args=(link,), daemon=True) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a rank hangs"
    if errors:
        raise errors[0]
    return results


def inputs(size: int, shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """One tensor for each rank, of small whole numbers: exact in every type and every order."""
    draw = torch.Generator().manual_seed(size + sum(shape))
    wide = torch.complex64 if dtype.is_complex else torch.int64
    low, high = (0, 2) if dtype is torch.bool else (1, 3)
    tensors = []
    for _ in range(size):
        values = torch.randint(low, high, (2, *shape), generator=draw)
        whole = torch.complex(*values.float()) if dtype.is_complex else values[0]
        tensors.append(whole.to(wide).to(dtype))
    return tensors


def expected(op: str, tensors: list[Tensor]) -> Tensor:
    """Computed in a wide type, so that the reference itself does not round."""
    dtype = tensors[0].dtype
    rows = torch.stack(tensors)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return REFERENCE[op](rows.to(wide)).to(dtype)


SHAPES = [(), (0,), (1,), (7,), (4, 5), (3, 0, 2), (64,), (1001,)]


@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("algorithm", MESSAGES)
def test_all_reduce(algorithm: str, size: int) -> None:
    for dtype in DTYPES:
        for op in REFERENCE:
            for shape in SHAPES if dtype is torch.float32 else SHAPES[2:4]:
                if not defined(op, dtype):
                    continue
                tensors = inputs(size, shape, dtype)
                want = expected(op, tensors)

                def work(link: Link, op: str = op, tensors: list[Tensor] = tensors) -> Tensor:
                    tensor = tensors[link.rank]
                    result = collectives.all_reduce(link, tensor, op, algorithm)
                    assert result is tensor
                    return tensor

                for got in on_ranks(size, work):
                    torch.testing.assert_close(got, want, msg=f"{op} of {dtype}, {shape}")


@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_other_collectives(size: int, dtype: torch.dtype) -> None:
    for shape in SHAPES:
        tensors = inputs(size, shape, dtype)
        copies = [t.clone() for t in tensors]

        def moves(link: Link, tensors: list[Tensor] = tensors) -> None:
            mine = tensors[link.rank].clone()
            for root in range(size):
                there = collectives.broadcast(link, mine.clone(), root)
                assert there.equal(tensors[root])
                gathered = collectives.gather(link, mine, root)
                assert (gathered is None) == (link.rank != root)
                for got, want in zip(gathered or [], tensors, strict=False):
                    assert got.equal(want)
                    assert got.shape == want.shape
                pieces = tensors if link.rank == root else None
                got = collectives.scatter(link, torch.zeros_like(mine), pieces, root)
                assert got.equal(mine)
            for got, want in zip(collectives.all_gather(link, mine), tensors, strict=True):
                assert got.equal(want)
                assert got.shape == want.shape
            collectives.barrier(link)
            assert mine.equal(tensors[link.rank]), "a read-only argument was changed"

        on_ranks(size, moves)
        op = "max" if dtype is torch.bool else "sum"
        want = expected(op, copies)

        def sums(
            link: Link, tensors: list[Tensor] = tensors, op: str = op, want: Tensor = want
        ) -> None:
            mine = tensors[link.rank].clone()
            for root in range(size):
                got = collectives.reduce(link, mine.clone(), op, root)
                assert got.equal(want if link.rank == root else mine)
            chunk = collectives.reduce_scatter(link, mine, op)
            assert chunk.equal(want.flatten().tensor_split(size)[link.rank])
            assert mine.equal(tensors[link.rank]), "a read-only argument was changed"

        on_ranks(size, sums)


@given(
    size=st.integers(1, 6),
    elements=st.integers(0, 300),
    segment=st.sampled_from([8, 64, 1 << 20]),
    algorithm=st.sampled_from(MESSAGES),
    op=st.sampled_from(list(REFERENCE)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=200, deadline=None)
def test_all_reduce_of_anything(
    size: int,
    elements: int,
    segment: int,
    algorithm: str,
    op: str,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Random numbers: right up to rounding, and the same bits on every rank."""
    if not defined(op, dtype):
        with pytest.raises(TypeError):
            collectives.check_op(op, dtype)
        return
    draw = torch.Generator().manual_seed(seed)
    low, high = (-2, 2) if dtype.is_floating_point or dtype.is_complex else (-100, 100)
    drawn = [torch.rand(elements, generator=draw) * (high - low) + low for _ in range(size)]
    tensors = [(t if high == 2 else t.long()).to(dtype) for t in drawn]
    rows = torch.stack(tensors)
    keep, segmented_ring.SEGMENT = segmented_ring.SEGMENT, max(segment, dtype.itemsize)
    try:
        got = on_ranks(
            size,
            lambda link: collectives.all_reduce(link, tensors[link.rank], op, algorithm),
        )
    finally:
        segmented_ring.SEGMENT = keep
    if dtype.is_floating_point or dtype.is_complex:
        wide = torch.complex128 if dtype.is_complex else torch.float64
        scale = rows.to(wide).abs().sum(0) if op in ("sum", "avg") else None
        want = REFERENCE[op](rows.to(wide))
        error = (got[0].to(wide) - want).abs()
        bound = size * torch.finfo(dtype).eps * (want.abs() if scale is None else scale)
        assert (error <= bound + torch.finfo(dtype).tiny).all()
    elif op in ("min", "max"):
        assert got[0].equal(REFERENCE[op](rows))
    else:  # integers wrap around: modulo 2^64 the order does not matter
        assert got[0].equal(REFERENCE[op](rows.to(torch.int64)).to(dtype))
    for other in got[1:]:
        assert torch.equal(other.view(torch.uint8), got[0].view(torch.uint8)), "bits differ"


@pytest.mark.parametrize("algorithm", MESSAGES)
def test_tensors_that_are_not_contiguous(algorithm: str) -> None:
    def transposed(link: Link) -> Tensor:
        tensor = torch.arange(12.0).view(3, 4).t()
        return collectives.all_reduce(link, tensor, "sum", algorithm)

    for got in on_ranks(3, transposed):
        assert got.equal(3 * torch.arange(12.0).view(3, 4).t())

    def every_second(link: Link) -> Tensor:
        whole = torch.ones(10)
        collectives.all_reduce(link, whole[::2], "sum", algorithm)
        return whole

    for got in on_ranks(3, every_second):
        assert got.tolist() == [3.0, 1.0] * 5

    def conjugate(link: Link) -> Tensor:
        return collectives.all_reduce(link, torch.tensor([1 + 2j]).conj(), "sum", algorithm)

    for got in on_ranks(2, conjugate):
        assert got.tolist() == [2 - 4j]

    def expanded(link: Link) -> None:
        collectives.all_reduce(link, torch.ones(1).expand(4), "sum", algorithm)

    with pytest.raises(ValueError, match=r"expanded.*clone"):
        on_ranks(2, expanded)


def test_parameters_are_reduced_without_autograd() -> None:
    def work(link: Link) -> Tensor:
        weight = torch.ones(5, requires_grad=True)
        return collectives.all_reduce(link, weight)

    for got in on_ranks(2, work):
        assert got.is_leaf
        assert got.requires_grad
        assert got.tolist() == [2.0] * 5


@pytest.mark.parametrize("algorithm", MESSAGES)
def test_a_nan_reaches_every_rank(algorithm: str) -> None:
    def work(link: Link, op: str) -> Tensor:
        tensor = torch.ones(9)
        tensor[4] = math.nan if link.rank == 1 else 1.0
        return collectives.all_reduce(link, tensor, op, algorithm)

    for op in REFERENCE:
        for got in on_ranks(3, lambda link, op=op: work(link, op)):
            assert got.isnan().nonzero().tolist() == [[4]]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_ring_sends_what_the_textbook_says(size: int) -> None:
    """2(n-1)/n · S bytes in 2(n-1) messages, each way, at each rank."""
    nbytes = size * 40

    def work(link: Link) -> collectives.Traffic:
        ring.all_reduce(link, torch.ones(nbytes // 4), "sum")
        return link.traffic

    for traffic in on_ranks(size, work):
        assert traffic.sent_bytes == traffic.received_bytes == 2 * (size - 1) * nbytes // size
        assert traffic.sent_messages == traffic.received_messages == 2 * (size - 1)


@pytest.mark.parametrize(
    ("algorithm", "sent"),
    [
        ("naive", [3, 1, 1, 1]),  # in tensors: rank 0 gives the sum to each, the others theirs
        ("tree", [2, 1, 2, 1]),  # up the tree once, and down to the children
        ("halving_doubling", [1.5] * 4),
        ("segmented_ring", [1.5] * 4),
    ],
)
def test_bytes_sent_by_the_other_algorithms(algorithm: str, sent: list[float]) -> None:
    def work(link: Link) -> int:
        collectives.all_reduce(link, torch.ones(400, dtype=torch.uint8), "sum", algorithm)
        return link.traffic.sent_bytes

    assert on_ranks(4, work) == [int(400 * share) for share in sent]


def test_traffic_of_one_collective_is_a_difference() -> None:
    def work(link: Link) -> tuple[int, int]:
        collectives.barrier(link)
        before = link.traffic.copy()
        collectives.all_gather(link, torch.ones(10))
        difference = link.traffic - before
        return difference.sent_bytes, difference.received_messages

    assert on_ranks(3, work) == [(80, 2)] * 3


def test_the_segmented_ring_cuts_large_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmented_ring, "SEGMENT", 400)

    def work(link: Link) -> tuple[int, int]:
        tensor = torch.ones(2 * 300)
        collectives.all_reduce(link, tensor, "sum", "segmented_ring")
        assert tensor.eq(2).all()
        return link.traffic.sent_messages, link.traffic.sent_bytes

    assert on_ranks(2, work) == [(6, 2400)] * 2


@pytest.mark.parametrize("algorithm", ["ring", "segmented_ring"])
def test_points_are_reached_before_each_step(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(faults, "point", seen.append)
    on_ranks(3, lambda link: collectives.all_reduce(link, torch.ones(6), "sum", algorithm))
    assert sorted(seen) == ["ring.all_gather"] * 6 + ["ring.reduce_scatter"] * 6


# -- wrong calls


@pytest.mark.parametrize(
    ("op", "dtype", "error", "word"),
    [
        ("median", torch.float32, ValueError, "use one of sum"),
        ("sum", torch.bool, TypeError, "use max"),
        ("avg", torch.int32, TypeError, "use sum"),
        ("max", torch.complex64, TypeError, "no order"),
        ("sum", torch.float8_e4m3fn, TypeError, "convert the tensor"),
    ],
)
def test_an_op_that_is_not_defined(
    op: str, dtype: torch.dtype, error: type[Exception], word: str
) -> None:
    link = memory_links(2)[0]
    tensor = torch.zeros(3).to(dtype)
    for call in (collectives.all_reduce, collectives.reduce, collectives.reduce_scatter):
        with pytest.raises(error, match=word):
            call(link, tensor, op)
    assert link.traffic == collectives.Traffic(), "something was sent"


def test_wrong_arguments_are_named() -> None:
    link = memory_links(2)[0]
    with pytest.raises(ValueError, match=r"unknown algorithm 'rings': use one of ring"):
        collectives.all_reduce(link, torch.ones(1), algorithm="rings")
    with pytest.raises(ValueError, match=r"no rank 2 in a group of 2: use 0 to 1"):
        collectives.broadcast(link, torch.ones(1), 2)
    with pytest.raises(ValueError, match=r"give it 2 pieces"):
        collectives.scatter(link, torch.ones(1), [torch.ones(1)], 0)
    with pytest.raises(ValueError, match=r"each piece must be like"):
        collectives.scatter(link, torch.ones(1), [torch.ones(1), torch.ones(2)], 0)
    with pytest.raises(TypeError, match="to_dense"):
        collectives.all_reduce(link, torch.ones(2, 2).to_sparse())
    with pytest.raises(ValueError, match="contiguous"):
        link.send(torch.ones(4)[::2], 1)
    with pytest.raises(ValueError, match="needs a SharedMemoryLink"):
        collectives.all_reduce(link, torch.ones(1), algorithm="shared_memory")


@pytest.mark.case(25)
def test_ranks_that_disagree_are_told() -> None:
    def work(link: Link) -> None:
        collectives.all_reduce(link, torch.ones(4 + 2 * link.rank))

    with pytest.raises(ValueError, match="same shape and type"):
        on_ranks(2, work)
