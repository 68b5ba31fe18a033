"""ZeRO-1: parts of the optimizer's state that nobody else has, and where they come back from.

Ranks are threads over a memory link, as in test_training; real processes: runtime/test_parts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from test_training import Died, World, dies_at, dies_before_message, training
from test_training import plain as plain  # a fixture
from torch import nn

from labkit.checkpoint.tree import Portion
from labkit.training import exact as exact_sums
from labkit.training import models, train
from labkit.training.recipes import momentum
from labkit.training.zero import BLOCK, Zero, ZeroOptimizer, partition

sharded = partial(training, zero=True, algorithm="in_order", on_loss="continue")


def undisturbed() -> Any:
    """Of one rank, without ZeRO."""
    return World(1).run(partial(training, algorithm="in_order"))[0]


# -- parts


@pytest.mark.parametrize("size", range(1, 10))
def test_the_parts_are_all_the_weights_and_as_even_as_blocks_can_be(size: int) -> None:
    sizes = [parameter.numel() for parameter in models.CNN().parameters()]
    parts = [partition(sizes, place, size) for place in range(size)]
    row = [piece for part in parts for piece in part]
    for index, elements in enumerate(sizes):
        mine = [(start, stop) for i, start, stop in row if i == index]
        assert [start for start, _ in mine] == [0, *(stop for _, stop in mine[:-1])]
        assert mine[-1][1] == elements
        assert all(start % BLOCK == 0 for start, _ in mine)
    assert row == sorted(row)
    assert BLOCK % 32 == 0  # two vectors of 16 floats, which is as far as a loop is unrolled
    blocks = [sum(-(-(stop - start) // BLOCK) for _, start, stop in part) for part in parts]
    assert max(blocks) - min(blocks) <= 1


def test_more_ranks_than_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="5 ranks cannot share 4 blocks"):
        partition([BLOCK + 1, 2 * BLOCK], 0, 5)


def stepped(worker: Any, make: Callable[..., Any], zero: bool, steps: int = 4) -> Any:
    """Weights after some steps with made-up gradients, and the elements of this rank's state."""
    torch_random = torch.Generator().manual_seed(0)
    shapes = (33, 70), (5,), (64, 3), (1,)
    weights = [nn.Parameter(torch.randn(shape, generator=torch_random)) for shape in shapes]
    optimizer = ZeroOptimizer(make, weights, 0.1) if zero else make(weights, 0.1)
    if zero:
        optimizer.share(worker.group)
        optimizer.join(worker.group)
    for step in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=torch_random)
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        optimizer.step()
    state = (optimizer.inner if zero else optimizer).state.values()
    held = sum(value.numel() for one in state for value in one.values() if value.dim())
    return [weight.detach().clone() for weight in weights], held


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("make", [momentum, torch.optim.AdamW])
def test_a_step_has_the_bits_of_one_without_parts_and_each_rank_a_part_of_the_state(
    size: int, make: Callable[..., Any]
) -> None:
    expected, everything = World(1).run(partial(stepped, make=make, zero=False))[0]
    results = World(size).run(partial(stepped, make=make, zero=True))
    for weights, held in results.values():
        assert all(map(torch.equal, weights, expected))
        assert held <= everything / size + 4 * BLOCK  # Adam's two numbers
    assert sum(held for _, held in results.values()) == everything


def test_its_state_is_the_plain_ones_with_portions_and_goes_either_way() -> None:
    """Out of the portions of all ranks, and into any other number of them."""

    def saved(worker: Any) -> Any:
        weights = [nn.Parameter(torch.ones(7, 30))]
        optimizer = ZeroOptimizer(torch.optim.AdamW, weights, 0.1)
        optimizer.share(worker.group)
        optimizer.join(worker.group)
        weights[0].grad = torch.arange(210.0).view(7, 30)
        optimizer.step()
        return optimizer.state_dict()

    states = World(3).run(saved)
    plain = torch.optim.AdamW([nn.Parameter(torch.ones(7, 30))], 0.1)
    plain.param_groups[0]["params"][0].grad = torch.arange(210.0).view(7, 30)
    plain.step()
    whole = plain.state_dict()
    assert states[0]["param_groups"] == whole["param_groups"]
    for key, value in whole["state"][0].items():
        leaves = [states[rank]["state"][0][key] for rank in range(3)]
        if value.dim() == 0:
            assert leaves == [value] * 3
            continue
        assert all(isinstance(leaf, Portion) and leaf.shape == (7, 30) for leaf in leaves)
        assert [leaf.start for leaf in leaves] == [0, BLOCK, 2 * BLOCK]
        assert torch.equal(torch.cat([leaf.values for leaf in leaves]).view(7, 30), value)

    def loaded(worker: Any) -> Any:
        optimizer = ZeroOptimizer(torch.optim.AdamW, [nn.Parameter(torch.ones(7, 30))], 0.1)
        optimizer.load_state_dict(whole)
        optimizer.share(worker.group)
        return optimizer.state_dict()["state"][0]["exp_avg"].values

    parts = World(2).run(loaded)
    assert torch.equal(torch.cat([parts[0], parts[1]]).view(7, 30), whole["state"][0]["exp_avg"])


# -- training


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("size", [1, 2, 4])
def test_training_ends_with_the_bits_of_plain_data_parallel(size: int) -> None:
    expected = undisturbed()
    for result in World(size).run(sharded).values():
        assert (result["hash"], result["loss"]) == (expected["hash"], expected["loss"])


@pytest.mark.parametrize("deaths", [{2: 3}, {0: 1}, {1: 2, 3: 2}, {0: 1, 1: 2, 2: 5}, {3: 6}])
@pytest.mark.usefixtures("plain")
def test_a_part_comes_back_from_its_neighbour(deaths: dict[int, int]) -> None:
    steps: dict[int, list[int]] = {rank: [] for rank in range(4)}
    die = dies_at(deaths)

    def at_step(worker: Any, step: int) -> None:
        steps[worker.rank].append(step)
        die(worker, step)

    results = World(4).run(sharded, at_step=at_step)
    kept = {steps[rank][-1] for rank in deaths}  # who has died may have kept another from its end
    for rank, result in results.items():
        if rank in deaths:
            assert isinstance(result, Died)
        else:
            assert result["hash"] == undisturbed()["hash"]
            assert set(steps[rank]) >= set(range(1, 7)) - kept  # those a third one sends it
            assert len(steps[rank]) <= 6 + len(deaths)  # nobody went back to the beginning


@pytest.mark.usefixtures("plain")
def test_with_copies_every_few_steps_no_more_than_those_are_done_again() -> None:
    steps: list[int] = []
    die = dies_at({2: 5})

    def at_step(worker: Any, step: int) -> None:
        steps.extend([step] * (worker.rank == 0))
        die(worker, step)

    results = World(4).run(partial(sharded, zero=Zero(replicate_every=3)), at_step=at_step)
    assert {results[rank]["hash"] for rank in (0, 1, 3)} == {undisturbed()["hash"]}
    assert steps in ([1, 2, 3, 4, 5, 4, 5, 6], [1, 2, 3, 4, 4, 5, 6])


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("message", range(1, 24))
def test_a_death_before_any_message_leaves_a_step_that_all_have(message: int) -> None:
    """Within agreeing, training, the all-gather, the copying, and what a recovery sends."""
    work = partial(sharded, steps=2)
    expected = World(1).run(partial(work, zero=False))[0]["hash"]
    results = World(3).run(work, at_link=dies_before_message(1, message))
    left = [result for result in results.values() if not isinstance(result, Died)]
    assert {result["hash"] for result in left} == {expected}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("message", range(1, 26, 3))
def test_a_death_within_a_recovery_leaves_one_too(message: int) -> None:
    """The neighbour of the dead one, on whom its part depends, or the other: in view 2."""
    for rank in (0, 2):
        at_link = dies_before_message(rank, message, number=2)
        results = World(4).run(sharded, at_step=dies_at({1: 3}), at_link=at_link)
        left = [result for result in results.values() if not isinstance(result, Died)]
        assert {result["hash"] for result in left} == {undisturbed()["hash"]}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("how", [{"exact": True}, {"redundancy": 2}])
def test_with_exact_sums_and_with_every_shard_twice(how: dict[str, Any], one_switch: None) -> None:
    work = partial(training, on_loss="continue", **how)
    expected = World(1).run(work)[0]["hash"]
    results = World(4).run(partial(work, zero=True), at_step=dies_at({2: 3}))
    assert {results[rank]["hash"] for rank in (0, 1, 3)} == {expected}


@pytest.fixture
def one_switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For all threads."""
    torch.use_deterministic_algorithms(True)
    monkeypatch.setattr(exact_sums, "deterministic", lambda on: on)
    yield
    torch.use_deterministic_algorithms(False)


def test_what_makes_no_sense_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="use 1 or more"):
        Zero(replicate_every=0)
    with pytest.raises(ValueError, match=r"there is nothing to compare\. Leave out compare_every"):
        train(None, zero=True, compare_every=5)
