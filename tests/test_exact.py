"""Sums in fixed point: any order, any grouping, any number of ranks, the same bits.

Most ranks are threads over a memory link, as in test_training; the last tests are real processes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import LITTLE, World, training
from test_training import plain as plain  # a fixture
from torch import nn

from labkit import At, Cluster, FaultPlan, Kill
from labkit.training import exact as module
from labkit.training import models, train
from labkit.training.buckets import Buckets
from labkit.training.exact import Exact, ExactBuckets, conditions, require_alike
from labkit.training.loop import summed_loss
from labkit.training.numerics import blame
from labkit.training.sampler import SHARDS, cut, share
from labkit.training.state import fingerprint

ALGORITHMS = ["ring", "segmented_ring", "tree", "halving_doubling", "naive"]


@pytest.fixture(autouse=True)
def one_switch_for_all_threads(request: pytest.FixtureRequest) -> Any:
    """Threads share torch's switch, which belongs to one rank: it stays on here."""
    torch.use_deterministic_algorithms(True)
    with pytest.MonkeyPatch.context() as patch:
        if "deterministic" not in request.node.name:
            patch.setattr(module, "deterministic", lambda on: on)
        yield
    torch.use_deterministic_algorithms(False)


# -- numbers


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_and_any_grouping_gives_the_same_bits(data: st.DataObject) -> None:
    """Scales from 1e-9 to 1e5 beside each other, summed along a random tree."""
    count = data.draw(st.integers(1, 12))
    scales = data.draw(st.lists(st.floats(-9, 5), min_size=count, max_size=count))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    gradients = [torch.randn(7, generator=generator) * 10**scale for scale in scales]
    exact = Exact()
    expected = torch.stack([exact.encode(g) for g in gradients]).sum(0)
    pieces = [exact.encode(g) for g in data.draw(st.permutations(gradients))]
    while len(pieces) > 1:
        a, b = (pieces.pop(data.draw(st.integers(0, len(pieces) - 1))) for _ in range(2))
        pieces.append(a + b)
    assert torch.equal(pieces[0], expected)
    decoded = exact.decode(expected, torch.float32)
    true = torch.stack(gradients).double().sum(0)
    half = count * 2.0**-41
    assert (decoded.double() - true).abs().le(half + true.abs() * 2.0**-23).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_and_every_world_size_gives_the_same_bits(algorithm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-4, 4, SHARDS)[:, None]
    encoded = Exact().encode(torch.randn(SHARDS, 101, generator=generator) * scale)

    def summed(size: int) -> torch.Tensor:
        def work(worker: Any) -> torch.Tensor:
            mine = encoded[list(share(worker.rank, size))].sum(0)
            return worker.group.all_reduce(mine, algorithm=algorithm)

        results = World(size).run(work)
        assert all(torch.equal(result, results[0]) for result in results.values())
        return results[0]

    assert all(torch.equal(summed(size), encoded.sum(0)) for size in (1, 2, 3, 4, 7, 8))


@given(st.integers(1, 10_000))
@settings(max_examples=200, deadline=None)
def test_the_worst_sum_does_not_wrap(addends: int) -> None:
    limit = Exact().limit(addends)
    assert int(limit) * addends <= 2**63 - 1
    assert math.ceil(math.nextafter(limit, math.inf)) * addends > 2**63 - 1  # no room is wasted


def test_rounding_is_to_the_nearest_step_and_loses_nothing_above_it() -> None:
    exact = Exact(fraction_bits=2)
    values = torch.tensor([0.125, 0.375, -0.125, 0.2, 5.0, -1e6 - 0.25], dtype=torch.float64)
    assert exact.encode(values).tolist() == [0, 2, 0, 1, 20, -4_000_001]
    assert exact.decode(exact.encode(values), torch.float32)[-1] == -1e6 - 0.25
    with pytest.raises(ValueError, match="use 0 to 62"):
        Exact(63)


# -- gradients that do not fit


class Steep(nn.Module):
    """loss = Σ x · weight: the gradient of `weight` is the sum of a shard's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1))
        self.weight = nn.Parameter(torch.zeros(1))


def one_step(value_of: Callable[[int], float], exact: Exact, size: int = 3) -> dict[int, Any]:
    """The summed gradient of Steep's weight at each rank, or what was raised there."""

    def work(worker: Any) -> tuple[float, float]:
        model = Steep()
        shares = [share(place, size) for place in range(size)]
        buckets = ExactBuckets(model, worker.group, shares, bucket_bytes=4, exact=exact)
        buckets.begin()
        for shard in buckets.mine:
            buckets.backward(((model.weight * value_of(shard)) + model.offset).sum())
        loss = buckets.wait()
        grad = model.weight.grad
        assert grad is not None
        buckets.close()
        return grad.item(), loss

    return World(size).run(work)


def test_a_gradient_that_does_not_fit_is_named_at_every_rank_with_the_scale_that_does() -> None:
    results = one_step(lambda shard: 1e7 if shard == 4 else 1.0, Exact())
    messages = {str(error) for error in results.values()}
    assert len(messages) == 1
    assert all(isinstance(error, OverflowError) for error in results.values())
    message = messages.pop()
    assert "the gradient of weight for shard 4 at rank 1 reaches 1e+07" in message
    assert "use Exact(fraction_bits=36) or less" in message
    assert set(one_step(lambda s: 1e7 if s == 4 else 1.0, Exact(36)).values()) == {(1e7 + 7, 0.0)}
    again = one_step(lambda s: 1e7 if s == 4 else 1.0, Exact(37))
    assert all(isinstance(error, OverflowError) for error in again.values())


def test_eight_gradients_of_which_each_would_fit_do_not_wrap_together() -> None:
    """2^20 with 40 bits is 2^60 steps, and eight of them are 2^63."""
    assert isinstance(one_step(lambda shard: 2.0**20, Exact())[0], OverflowError)
    largest = 2.0**20 - 2.0**-4  # the next smaller float32
    assert one_step(lambda shard: largest, Exact())[0] == (8 * largest, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_no_number_is_named(value: float) -> None:
    results = one_step(lambda shard: value if shard == 7 else 1e30, Exact())
    for error in results.values():
        assert isinstance(error, FloatingPointError)
        assert "the gradient of weight for shard 7 at rank 2 is NaN or infinite" in str(error)


def test_who_has_no_numbers_says_so_when_asked() -> None:
    """The guard of the training loop asks all ranks whose gradient it was."""

    def work(worker: Any) -> list[int]:
        model = Steep()
        shares = [share(place, 3) for place in range(3)]
        buckets = ExactBuckets(model, worker.group, shares)
        buckets.begin()
        for shard in buckets.mine:
            buckets.backward(model.weight.sum() * (math.nan if shard == 3 else 1.0))
        with pytest.raises(FloatingPointError):
            buckets.wait()
        return blame(worker.group, buckets)

    assert World(3).run(work) == {0: [1], 1: [1], 2: [1]}


def test_no_scale_fits_what_is_too_large() -> None:
    results = one_step(lambda shard: 1e30, Exact())
    assert "no scale fits it" in str(results[0])


def test_a_rank_without_shards_takes_part() -> None:
    results = one_step(float, Exact(), size=9)
    assert set(results.values()) == {(28.0, 0.0)}


# -- who may take part


def test_ranks_that_do_not_compute_alike_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    differs = {"kind of device": "cuda", "torch version": "1.0", "number of threads": 7,
               "deterministic algorithms": False, "kernels": "NEON"}  # fmt: skip
    assert differs.keys() == conditions(torch.device("cpu")).keys()
    mine = threading.local()
    plain = conditions(torch.device("cpu"))
    monkeypatch.setattr(module, "conditions", lambda device: plain | mine.changed)
    for what, value in differs.items():

        def work(worker: Any, what: str = what, value: Any = value) -> None:
            mine.changed = {what: value} if worker.rank == 1 else {}
            require_alike(worker.group)

        for error in World(3).run(work).values():
            assert isinstance(error, ValueError)
            assert f"rank 1 differs in {what}: {value!r}, where most have" in str(error)


def test_without_deterministic_algorithms_nobody_begins() -> None:
    torch.use_deterministic_algorithms(False)
    assert "use_deterministic_algorithms" in str(World(2).run(lambda w: require_alike(w.group))[0])


def test_deterministic_algorithms_are_on_until_the_buckets_close() -> None:
    torch.use_deterministic_algorithms(False)

    def work(worker: Any) -> list[bool]:
        buckets = ExactBuckets(nn.Linear(2, 2), worker.group, [range(1)])
        during = torch.are_deterministic_algorithms_enabled()
        buckets.close()
        return [during, torch.are_deterministic_algorithms_enabled()]

    assert World(1).run(work)[0] == [True, False]
    error = World(1).run(lambda w: ExactBuckets(nn.Linear(2, 2), w.group, [range(1)], "in_order"))
    assert "exact sums need no order" in str(error[0])


# -- cost and training, threads as ranks


@pytest.mark.usefixtures("plain")
def test_the_bytes_are_doubled_and_the_gradient_is_torchs() -> None:
    learn = LITTLE.train
    loss = summed_loss(models.build("cnn"), learn) / learn.samples

    def work(worker: Any) -> float:
        buckets: list[Any] = []
        found = []
        for kind in (Buckets, ExactBuckets):
            model = models.build("cnn")
            shares = [share(place, 3) for place in range(3)]
            buckets.append(kind(model, worker.group, shares, bucket_bytes=20_000))
            before = worker.group.link.traffic.copy()
            buckets[-1].begin()
            for shard in buckets[-1].mine:
                part = learn.rows(cut(torch.arange(learn.samples))[shard])
                buckets[-1].backward(summed_loss(model, part) / learn.samples)
            value = buckets[-1].wait()
            sent = (worker.group.link.traffic - before).sent_bytes
            found.append((sent, [p.grad.clone() for p in model.parameters()], value))
        for p, q in zip(found[0][1], found[1][1], strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
        assert found[1][2] == pytest.approx(loss.item(), rel=1e-5)
        assert buckets[1].nbytes == pytest.approx(2 * buckets[0].nbytes, abs=16)
        return found[1][0] / found[0][0]

    assert list(World(3).run(work).values()) == [pytest.approx(2.0, rel=0.001)] * 3


@pytest.mark.usefixtures("plain")
def test_training_ends_with_the_same_bits_by_any_algorithm() -> None:
    runs = [(1, "ring"), (2, "tree"), (3, "ring"), (4, "naive"), (4, "halving_doubling")]
    hashes = set()
    for size, algorithm in runs:
        results = World(size).run(partial(training, exact=True, algorithm=algorithm))
        hashes |= {(result["hash"], result["loss"]) for result in results.values()}
    assert len(hashes) == 1


# -- real processes


@pytest.fixture
def cluster_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Cluster]:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    return partial(Cluster, backend="gloo", device="cpu")


@pytest.mark.slow
def test_the_weights_are_the_same_for_every_world_size_and_through_kills(
    cluster_of: Callable[[int], Cluster],
) -> None:
    """Dropout included. Ranks die in the backward pass, in the ring, and two of four."""
    steps = {"steps": 12, "exact": True, "bucket_bytes": 1 << 16}
    hashes = {}
    for size in (1, 2, 3):
        with cluster_of(size) as cluster:
            run = cluster.run(train, **steps).wait(timeout=60)
        hashes[size] = {result["hash"] for result in run.results.values()}
    plans = {
        "backward": FaultPlan(At(Kill(2), point="backward", count=2 * 5 + 1)),
        "ring": FaultPlan(At(Kill(0), point="ring.reduce_scatter", count=40)),
        "two": FaultPlan(At(Kill(3), step=3), At(Kill(1), point="forward", count=18)),
    }
    for name, plan in plans.items():
        with cluster_of(4) as cluster:
            run = cluster.run(train, faults=plan, on_loss="continue", **steps).wait(timeout=60)
        assert len(run.deaths) == len(plan.entries)
        assert {result["steps"] for result in run.results.values()} == {12}
        hashes[name] = {result["hash"] for result in run.results.values()}
    assert len(set.union(*hashes.values())) == 1, hashes


def more_threads(worker: Any) -> None:
    if worker.rank == 1:
        torch.set_num_threads(2)
    try:
        train(worker, steps=1, exact=True)
    finally:
        torch.set_num_threads(1)


@pytest.mark.slow
def test_a_rank_with_more_threads_is_refused_before_the_first_step(
    cluster_of: Callable[[int], Cluster],
) -> None:
    with cluster_of(3) as cluster:
        run = cluster.run(more_threads)
        with pytest.raises(Exception, match="rank 1 differs in number of threads: 2"):
            run.wait(timeout=30)
    assert not any(event.name == "step" for event in run.events)


def test_fingerprints_are_of_the_weights() -> None:
    one, other = models.build("cnn", seed=1), models.build("cnn", seed=1)
    assert fingerprint(one) == fingerprint(other)
    with torch.no_grad():
        other.score.bias[0] = torch.nextafter(other.score.bias[0], torch.tensor(9.0))
    assert fingerprint(one) != fingerprint(other)


@pytest.fixture(scope="module")
def alone() -> str:
    """The weights' hash after 40 exact steps on one rank."""
    with Cluster(1, backend="gloo", device="cpu", record=False) as cluster:
        return cluster.run(train, steps=40, exact=True).wait(timeout=60).results[0]["hash"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"exact": True}, {"redundancy": 2}])
def test_a_rank_that_comes_back_joins_with_the_same_bits(
    cluster_of: Callable[[int], Cluster], alone: str, how: dict[str, Any]
) -> None:
    """The vote to let it in travels among the integers."""
    with cluster_of(3) as cluster:
        run = cluster.run(train, elastic=True, steps=40, **how)
        run.wait_step(3)
        cluster.kill(1)
        cluster.restart(1)
        run.wait(timeout=60)
    hashes = {rank: result["hash"] for rank, result in run.results.items()}
    assert hashes == dict.fromkeys(range(3), alone)
