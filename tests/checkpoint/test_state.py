"""A resumed run has the bits of one that was not stopped (fault case 42), and needs every piece."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from trained import bits, data, model, pieces, train

from labkit.checkpoint import MissingPiece, Random, Store, capture, fingerprint, restore
from labkit.checkpoint.tree import flatten, unflatten

STOP, MORE = 5, 9  # in the middle of the second epoch; the second part ends in the fourth


def everything(these: dict) -> dict[str, Any]:
    """All that is saved, by the way to it; of tensors the bytes."""
    return {
        way: leaf.numpy().tobytes() if isinstance(leaf, torch.Tensor) else leaf
        for way, leaf in leaves(capture(these))
    }


def leaves(tree: Any, way: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list | tuple):
            yield from leaves(value, f"{way}/{key}")
        else:
            yield f"{way}/{key}", value


def grafted(tree: Any, other: Any, at: str, way: str = "") -> Any:
    """`tree` with the leaf of `other` in the place `at`."""
    if way == at:
        return other
    if not at.startswith(f"{way}/"):
        return tree
    if isinstance(tree, dict):
        return {key: grafted(value, other[key], at, f"{way}/{key}") for key, value in tree.items()}
    parts = enumerate(zip(tree, other, strict=True))
    return type(tree)(grafted(*two, at, f"{way}/{i}") for i, two in parts)


@pytest.fixture(scope="module")
def unbroken() -> tuple[list, dict]:
    these = pieces()
    train(these, STOP)
    return train(these, MORE), everything(these)


def resumed(
    folder: Path, without: frozenset[str] = frozenset(), leaf: str = ""
) -> tuple[list, dict]:
    """Stops after STOP steps; goes on in objects that had another seed and another history, and
    that do not take back the pieces `without` which they go on, or one `leaf` of them."""
    these = pieces()
    train(these, STOP)
    Store(folder).save(capture(these), STOP)
    others = pieces(seed=1)
    others["sampler"].seed = 0  # what a configuration says is no state
    train(others, 3)
    loaded = Store(folder).load(like=capture(others))
    assert loaded is not None
    state = grafted(loaded.state, deepcopy(capture(others)), leaf) if leaf else loaded.state
    restore(others, state, without)
    return train(others, MORE), everything(others)


@pytest.mark.case(42)
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, unbroken: tuple[list, dict]) -> None:
    seen, state = resumed(tmp_path)
    assert seen == unbroken[0], "losses, order of samples, scale, step"
    assert state == unbroken[1]


@pytest.mark.case(42)
@pytest.mark.parametrize("piece", sorted(pieces()))
def test_without_any_one_piece_it_is_another_run(
    tmp_path: Path, unbroken: tuple[list, dict], piece: str
) -> None:
    assert resumed(tmp_path, frozenset({piece})) != unbroken


RECOMPUTED = {
    "/scheduler/_last_lr/0",
    "/progress/epoch",
    *(f"/average/module.1.{name}" for name in ("running_mean", "running_var")),
    "/average/module.1.num_batches_tracked",  # an average copies what is no parameter
}
"""What each step makes anew out of the rest."""


def differing() -> list[str]:
    """The leaves in which the state to be resumed differs from that which resumes it."""
    others = pieces(seed=1)
    train(others, 3)
    fresh = everything(others)
    these = pieces()
    train(these, STOP)
    saved = everything(these)
    return [way for way in saved if way in fresh and saved[way] != fresh[way]]


def test_without_any_one_leaf_of_a_piece_it_is_another_run(
    tmp_path: Path, unbroken: tuple[list, dict]
) -> None:
    """Moments, counters, the place in the epoch, averages, each generator: one by one."""
    tried = enumerate(differing())
    idle = {leaf for i, leaf in tried if resumed(tmp_path / str(i), leaf=leaf) == unbroken}
    assert idle == RECOMPUTED


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="takes a GPU")
def test_the_generators_of_gpus_come_back() -> None:
    torch.rand(1, device="cuda")
    saved = Random().state_dict()
    expected = torch.rand(8, device="cuda").tolist()
    torch.rand(8, device="cuda")
    Random().load_state_dict(saved)
    assert torch.rand(8, device="cuda").tolist() == expected


def test_random_states_of_other_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    saved = Random().state_dict() | {"cuda": [torch.zeros(16, dtype=torch.uint8)] * 2}
    with pytest.raises(RuntimeError, match="of 2 CUDA devices were saved, and 1 are here"):
        Random().load_state_dict(saved)


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


def test_a_fingerprint_leaves_nothing_out() -> None:
    """What NumPy, torch and long lists show of themselves has dots in its middle."""
    one, other = np.arange(5000.0), np.arange(5000.0)
    other[2500] = 0
    for wrap in (
        lambda x: x,
        torch.from_numpy,
        lambda x: [torch.from_numpy(x)],
        lambda x: {"x": x},
    ):
        assert fingerprint(wrap(one)) == fingerprint(wrap(one.copy())) != fingerprint(wrap(other))
    assert fingerprint(Kind(one)) == fingerprint(Kind(one.copy())) != fingerprint(Kind(other))
    assert fingerprint(one) != fingerprint(one.reshape(50, 100))
    assert fingerprint([1, [2]]) != fingerprint([[1], 2])


@dataclass
class Kind:
    samples: np.ndarray


def test_what_shows_less_than_it_is_has_no_fingerprint() -> None:
    samples = torch.utils.data.TensorDataset(torch.ones(3))
    with pytest.raises(TypeError, match=r"a TensorDataset leaves out .* Give what it is made of"):
        fingerprint(samples)
    fingerprint(samples.tensors, "...", nn.Linear(2, 3))


BODY = """
scale = 2
class Model:
    def forward(self, x): return [x * scale, x in {"a", "b", "c"}, (lambda y: y + NUMBER)(x)]
def schedule(step): return NUMBER
"""


@pytest.mark.parametrize("name", ["Model", "schedule"])
def test_code_without_a_source_has_a_fingerprint_too(name: str) -> None:
    """As a worker has what a notebook defines."""

    def compiled(number: int) -> Any:
        namespace: dict[str, Any] = {"__name__": "somewhere"}
        exec(BODY.replace("NUMBER", str(number)), namespace)
        return namespace[name]

    assert fingerprint(compiled(1)) == fingerprint(compiled(1)) != fingerprint(compiled(2))
    assert fingerprint(partial(compiled(1), 3)) != fingerprint(partial(compiled(1), 4))
    assert fingerprint(len) != fingerprint(max)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    """A counter of tokens that was summed up with NumPy."""
    counters = {"tokens": np.int64(12), "share": np.float32(0.5), "seen": np.float64(3)}
    store = Store(tmp_path)
    store.save({"progress": {"counters": counters}}, 1)
    loaded = store.load()
    assert loaded is not None
    assert loaded.state["progress"]["counters"] == {"tokens": 12, "share": 0.5, "seen": 3.0}


@pytest.mark.parametrize(
    "tensor", [torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex128)]
)
def test_a_tensor_that_the_format_cannot_hold_is_named(
    tmp_path: Path, tensor: torch.Tensor
) -> None:
    kind = "(sparse_coo|complex128)"
    with pytest.raises(TypeError, match=f"model/w: safetensors has no {kind} tensors. Give it as"):
        Store(tmp_path).save({"model": {"w": tensor}}, 1)
