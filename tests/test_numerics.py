"""Bad steps, decided by all ranks alike; corrupted replicas; stragglers. Cases 26, 27 and 28."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from labkit import At, Cluster, CorruptWeights, FaultPlan, PoisonGradient, Slow
from labkit.training import data
from labkit.training.corruption import Disagreement, digest, flip_bit, odd_ones
from labkit.training.data import Data
from labkit.training.loop import train
from labkit.training.models import build
from labkit.training.numerics import Diverged, Guard, LossScale, finite
from labkit.training.stragglers import LOOKS, Stragglers, score

LITTLE = Data(data.digits().train.rows(slice(200)), data.digits().test.rows(slice(50)))
training = partial(train, data=LITTLE, batch=40, steps=8)
ONE = [torch.ones(3)]


def bad() -> list[torch.Tensor]:
    return [torch.ones(3), torch.tensor([1.0, math.nan])]


# -- one rank's view


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_element_is_enough(value: float) -> None:
    tensor = torch.zeros(10_000)
    tensors = [torch.ones(3), tensor]
    assert finite(tensors)
    tensor[777] = value
    assert not finite(tensors)


def test_a_spike_is_measured_against_the_median_of_good_steps() -> None:
    guard = Guard(spike=3.0, window=5)
    for loss in (9.0, 1.0, 1.1, 1.2, 0.9, 1.0):
        assert guard.judge(loss, ONE) == ""
    assert guard.judge(3.2, ONE) == "the loss of 3.2 is 3.2 times the median"
    assert guard.judge(math.nan, ONE) == "a gradient is not finite"
    assert guard.losses == [1.0, 1.1, 1.2, 0.9, 1.0]
    assert guard.judge(2.9, ONE) == ""


def test_any_loss_is_a_spike_after_losses_of_nothing() -> None:
    """Where all is learnt by heart, a cross-entropy in float32 is exactly 0."""
    guard = Guard(spike=3.0)
    assert guard.judge(0.0, ONE) == ""
    assert guard.judge(0.5, ONE) == "the loss of 0.5 is inf times the median"


def test_the_rate_is_halved_with_each_bad_step() -> None:
    guard = Guard(policy="lower rate")
    for _ in range(2):
        guard.judge(1.0, bad())
    assert guard.factor == 0.25


def test_patience_has_an_end() -> None:
    guard = Guard(patience=3)
    guard.judge(1.0, bad())
    guard.judge(1.0, ONE)
    guard.judge(1.0, bad())
    guard.judge(1.0, bad())
    with pytest.raises(Diverged, match="3 steps in a row were left out, the last since a gradient"):
        guard.judge(1.0, bad())


def test_one_that_joins_decides_as_the_others() -> None:
    old = Guard(policy="lower rate", spike=2.0, scale=LossScale(scale=8.0))
    for loss in (1.0, 2.0, 1.5):
        old.judge(loss, [torch.ones(2)])
    old.judge(1.0, bad())
    new = Guard(policy="lower rate", spike=2.0, scale=LossScale())
    new.restore(old.state())
    assert new == old
    new.judge(1.0, [torch.ones(2)])
    assert new.losses != old.losses  # not the same list


def test_the_loss_scale_is_that_of_torch() -> None:
    """Against torch.amp's, step by step."""
    ours, theirs = LossScale(scale=1024.0, interval=3), torch.tensor(1024.0)
    growth, draw = torch.tensor(0, dtype=torch.int32), random.Random(0)
    for _ in range(60):
        overflowed = draw.random() < 0.2
        ours.update(overflowed)
        found = torch.tensor(float(overflowed))
        torch._amp_update_scale_(theirs, growth, found, 2.0, 0.5, 3)
        assert (ours.scale, ours.good) == (theirs.item(), growth.item())


def test_the_buckets_leave_their_scale_when_they_are_judged() -> None:
    guard, total = Guard(scale=LossScale(scale=8.0)), torch.full((3,), 16.0)
    assert guard.judge(1.0, [total]) == ""
    assert total.tolist() == [2.0, 2.0, 2.0]


def test_a_majority_names_the_odd_one() -> None:
    assert odd_ones([7, 7, 7]) == []
    assert odd_ones([7, 8, 7, 7, 9]) == [1, 4]
    for tie in ([7, 8], [7, 7, 8, 8], [1, 2, 3]):
        with pytest.raises(Disagreement, match=f"the weights of {len(tie)} ranks differ"):
            odd_ones(tie)


@pytest.mark.parametrize("bit", [0, 23, 31])
def test_any_flipped_bit_changes_the_digest(bit: int) -> None:
    model = build("cnn")
    optimizer = torch.optim.AdamW(model.parameters())
    model(data.digits().test.inputs[:2]).sum().backward()
    optimizer.step()
    before = digest(model, optimizer)
    flip_bit(next(model.parameters()), bit)
    assert digest(model, optimizer) != before
    flip_bit(next(model.parameters()), bit)
    assert digest(model, optimizer) == before
    flip_bit(optimizer.state_dict()["state"][0]["exp_avg"], bit)
    assert digest(model, optimizer) != before


# -- stragglers


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_the_slow_one_is_flagged_once_and_cleared_once(size: int) -> None:
    stragglers, draw = Stragglers(), random.Random(size)
    told = []
    for window in range(6):
        times = [0.07 * draw.uniform(0.95, 1.05) for _ in range(size)]
        times[1] *= 3 if 1 <= window < 4 else 1
        told.append(stragglers.judge(times))
    assert [list(changed) for changed in told] == [[], [1], [], [], [1], []]
    assert told[1][1] == pytest.approx(3, rel=0.15)
    assert told[4] == {1: 1.0}


def test_ordinary_differences_and_a_rank_alone_are_none() -> None:
    stragglers, draw = Stragglers(), random.Random(0)
    for _ in range(200):
        assert stragglers.judge([0.07 * draw.uniform(0.85, 1.2) for _ in range(4)]) == {}
    assert stragglers.judge([5.0]) == {}


def test_a_score_cannot_be_moved_by_one_of_the_others() -> None:
    assert score(3.0, [1.0, 1.0, 1.1, 50.0]) > 10
    assert score(1.05, [1.0, 1.0, 1.1, 50.0]) < 1


@pytest.mark.parametrize(("size", "factor", "goes"), [(4, 2.0, True), (2, 1.8, False)])
def test_who_stays_slow_is_left_behind_where_that_is_faster(
    size: int, factor: float, goes: bool
) -> None:
    """Of two ranks, one that takes less than twice as long still is of use."""
    stragglers = [Stragglers() for _ in range(size)]
    times = [0.05 * (factor if place == 1 else 1.0) for place in range(size)]

    def leaving(minimum: int) -> list[int]:
        groups = [SimpleNamespace(rank=place, size=size) for place in range(size)]
        who = zip(stragglers, groups, strict=True)
        return [group.rank for one, group in who if one.left_behind(group, minimum)]

    for _ in range(LOOKS):
        assert leaving(1) == []
        for one in stragglers:
            one.judge(times)
    assert leaving(1) == ([1] if goes else [])
    assert leaving(size) == []
    for one in stragglers:
        one.judge([0.05] * size)  # it has passed
    assert leaving(1) == []


# -- real processes


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        with Cluster(3, deadline=20.0) as cluster:
            yield cluster


def notes(run: Any) -> list[str]:
    return [e.name for e in run.events if e.kind == "note"]


def hashes(run: Any) -> set[str]:
    return {result["hash"] for result in run.results.values()}


@pytest.fixture(scope="module")
def faultless(three: Cluster) -> str:
    (only,) = hashes(three.run(training).wait(timeout=60))
    return only


def test_exact_sums_leave_a_bad_step_out_too(three: Cluster) -> None:
    plan = FaultPlan(At(PoisonGradient(1), step=4))
    run = three.run(training, exact=True, faults=plan).wait(timeout=60)
    assert [note[:22] for note in notes(run)] == ["step 4 is not applied:"]
    assert len(hashes(run)) == 1


@pytest.mark.case(26)
@pytest.mark.parametrize("policy", ["skip", "lower rate", "roll back"])
def test_a_poisoned_gradient_is_voted_down_everywhere(
    three: Cluster, faultless: str, policy: str
) -> None:
    """Case 26: nobody applies it, who it was is known, and the weights are the same on all."""
    plan = FaultPlan(At(PoisonGradient(1), step=4))
    run = three.run(training, guard=Guard(policy, every=3), faults=plan).wait(timeout=60)
    assert notes(run) == [f"step 4 is not applied: a gradient is not finite on rank 1 ({policy})"]
    (found,) = hashes(run)
    assert found != faultless  # a batch has been left out
    assert all(math.isfinite(result["test_loss"]) for result in run.results.values())
    assert {result["steps"] for result in run.results.values()} == {8}


@pytest.mark.case(27)
def test_a_flipped_bit_is_found_named_and_mended(three: Cluster, faultless: str) -> None:
    """Case 27: it strikes after the last comparison but one, in a step of its own."""
    plan = FaultPlan(At(CorruptWeights(2, bit=12), step=4))
    run = three.run(training, compare_every=2, faults=plan).wait(timeout=60)
    assert notes(run) == ["step 6: the weights of rank 2 are not the others'"]
    assert len(hashes(run)) == 1
    unseen = three.run(training, faults=plan).wait(timeout=60)
    assert notes(unseen) == []
    assert len(hashes(unseen)) == 2


def test_float16_without_a_scale_loses_gradients_and_finds_one_that_fits(three: Cluster) -> None:
    """From far too large: halved at each overflow, by all ranks at once, until it fits."""
    guard = Guard(scale=LossScale(scale=2.0**30), patience=30)
    run = three.run(partial(training, steps=20), guard=guard).wait(timeout=60)
    assert len(hashes(run)) == 1
    assert 1 < len(notes(run)) < 20
    assert run.results[0]["test_loss"] < 2.4


@pytest.mark.case(28)
def test_a_slow_rank_is_flagged_and_not_called_dead(three: Cluster) -> None:
    """Case 28."""
    plan = FaultPlan(At(Slow(1, 8.0), step=1))
    run = three.run(partial(training, steps=30), faults=plan).wait(timeout=60)
    three.heal()
    # On a busy machine others may be slow too for a while; rank 1 always is.
    factors = [e.data["factor"] for e in run.events if e.kind == "straggler" and e.rank == 1]
    assert factors[0] > 1.5
    assert not run.deaths
    assert not [e for e in run.events if e.kind in ("lost", "view")]
    row = next(row for row in three.status().rows if row["rank"] == 1)
    assert row["slow"].endswith("×")


@pytest.mark.case(28)
def test_a_rank_that_stays_slow_leaves_and_the_others_go_on() -> None:
    """Case 28, where it is wanted: it says farewell as one that is preempted, and no step is done
    twice. Of three ranks two must be left: no other goes."""
    whole = partial(training, steps=32, algorithm="in_order")
    job = partial(whole, drop_stragglers=True)
    plan = FaultPlan(At(Slow(1, 5.0), step=1))
    with Cluster(3, deadline=20.0) as cluster:
        undisturbed = hashes(cluster.run(whole).wait(timeout=60))
        kept = cluster.run(job, minimum=3, faults=plan).wait(timeout=60)
        assert hashes(kept) == undisturbed
        cluster.heal()
        run = cluster.run(job, minimum=2, faults=plan).wait(timeout=60)
        assert gone(cluster, 1).code == 0
    assert not run.errors
    assert "accuracy" not in run.results[1]
    assert 24 < run.results[1]["steps"] < 32
    assert {run.results[rank]["hash"] for rank in (0, 2)} == undisturbed
    done = [(e.rank, e.data["step"]) for e in run.events if e.kind == "step"]
    assert len(done) == len(set(done)) == 2 * 32 + run.results[1]["steps"]
    assert "rank 1 leaves: it is slower than the others" in notes(run)


def gone(cluster: Cluster, rank: int) -> Any:
    """How it ended; waits for it."""
    driver = cluster._driver
    with driver.changed:
        assert driver.changed.wait_for(lambda: driver.seats[rank].died, 20)
    return driver.seats[rank].died
