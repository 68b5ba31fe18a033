"""A resumed run has the bits of one that was not stopped (fault case 42), and needs every piece."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from trained import bits, data, model, pieces, train

from labkit.checkpoint import MissingPiece, Random, Store, capture, fingerprint, restore
from labkit.checkpoint.tree import flatten, unflatten

STOP, MORE = 5, 9  # in the middle of the second epoch; the second part ends in the fourth


@pytest.fixture(scope="module")
def unbroken() -> tuple[list, dict]:
    these = pieces()
    train(these, STOP)
    return train(these, MORE), bits(these)


def resumed(folder: Path, without: frozenset[str] = frozenset()) -> tuple[list, dict]:
    """Stops after STOP steps; goes on in objects that had another seed and another history."""
    these = pieces()
    train(these, STOP)
    Store(folder).save(capture(these), STOP)
    others = pieces(seed=1)
    others["sampler"].seed = 0  # what a configuration says is no state
    train(others, 3)
    loaded = Store(folder).load(like=capture(others))
    assert loaded is not None
    restore(others, loaded.state, without)
    return train(others, MORE), bits(others)


def test_a_resumed_run_has_the_same_bits(tmp_path: Path, unbroken: tuple[list, dict]) -> None:
    seen, weights = resumed(tmp_path)
    assert seen == unbroken[0], "losses, order of samples, scale, step"
    assert weights == unbroken[1]


@pytest.mark.parametrize("piece", sorted(pieces()))
def test_without_any_one_piece_it_is_another_run(
    tmp_path: Path, unbroken: tuple[list, dict], piece: str
) -> None:
    assert resumed(tmp_path, frozenset({piece})) != unbroken


def test_every_generator_comes_back_by_itself() -> None:
    these = pieces()
    saved = Random().state_dict()
    train(these, 1)
    moved = Random().state_dict()
    for generator in ("python", "numpy", "torch"):
        assert values(moved, generator) != values(saved, generator), "the training draws from it"
        Random().load_state_dict(saved | {generator: moved[generator]})
        now = Random().state_dict()
        back = [name for name in saved if values(now, name) == values(saved, name)]
        assert back == [name for name in saved if name != generator]


def values(state: dict, generator: str) -> list:
    tensors, plain = flatten(state[generator])
    return [plain, *(tensor.tolist() for tensor in tensors.values())]


def test_a_piece_that_is_missing_is_named_and_nothing_is_changed() -> None:
    these = pieces()
    saved = capture(these)
    saved.pop("scaler")
    before = bits(these)
    with pytest.raises(MissingPiece, match="lacks scaler"):
        restore(these, saved)
    assert bits(these) == before


def test_what_is_no_piece_is_refused() -> None:
    with pytest.raises(TypeError, match="a dict is no piece"):
        capture({"model": {}})


# -- trees


def test_a_tree_comes_back_as_it_was() -> None:
    tree = {
        "words": ["a", "", "$"],
        "numbers": (1, -2.5, float("nan"), float("-inf"), 2**63, True, None),
        3: {"tensor": torch.arange(3), ("a", 1): [torch.ones(2, dtype=torch.bfloat16)]},
        "$tensor": {"nested": {}},
    }
    tensors, plain = flatten(tree)
    back = unflatten(tensors, plain)
    assert repr(back) == repr(tree)
    assert sorted(tensors) == ["3/('a', 1)/0", "3/tensor"]


def test_what_cannot_be_said_without_code_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match="optimizer/hook: a function cannot be saved"):
        flatten({"optimizer": {"hook": test_a_tree_comes_back_as_it_was}})
    with pytest.raises(ValueError, match="two tensors of the state are called 'a/b'"):
        flatten({"a": {"b": torch.ones(1)}, "a/b": torch.ones(1)})


# -- fingerprints


def test_fingerprints_tell_data_and_code_apart() -> None:
    inputs, targets = data()
    same = fingerprint(inputs.clone(), targets)
    assert fingerprint(inputs, targets) == same
    inputs[3, 3] += 1e-6
    assert fingerprint(inputs, targets) != same
    assert fingerprint(model) == fingerprint(model) != fingerprint(pieces)
    assert fingerprint(nn.Linear) != fingerprint(nn.Conv1d)
