"""A folder of checkpoints: what is there, what is newest, what goes, and who may write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.checkpoint import Keep, Locked, Manifest, Store, lock
from labkit.checkpoint.lock import Lock
from labkit.checkpoint.manifest import Made, number_of
from labkit.checkpoint.retention import garbage, kept


def state(value: float = 0.0, size: int = 5) -> dict:
    weights = torch.full((size, 3), value)
    return {"model": {"w": weights, "steps": torch.tensor(7)}, "progress": {"step": int(value)}}


def same(a: dict, b: dict) -> bool:
    return repr(a) == repr(b)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(state(1), step=1)
    store.save(state(2), step=2, metrics={"loss": 0.5})
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert same(loaded.state, state(2))
    assert loaded.remarks == []
    assert loaded.manifest.metrics == {"loss": 0.5}
    assert loaded.manifest.made.versions.keys() == {"labkit", "torch", "python"}


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_checkpoint_behind_a_step_without_a_loss_is_loaded(tmp_path: Path, loss: float) -> None:
    Store(tmp_path).save(state(1), step=1, metrics={"loss": loss, "rate": 0.5})
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert same(loaded.state, state(1))
    assert loaded.manifest.metrics == {
        "rate": 0.5
    }  # JSON has no NaN, and nothing is the best by it


def test_many_ranks_commit_behind_a_step_without_a_loss(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.share("run")
    for rank in range(2):
        snapshot = store.snapshot(state(1), rank, 2)
        snapshot.copy()
        store.prepare(snapshot, 1, 1, rank, 2, {"loss": float("nan")})
    made = store.commit_prepared(1)
    assert store.manifests() == [made]


def test_an_empty_folder_and_none_at_all(tmp_path: Path) -> None:
    assert Store(tmp_path).load() is None
    assert Store(tmp_path / "new").load() is None


def test_any_program_that_knows_safetensors_reads_a_shard(tmp_path: Path) -> None:
    made = Store(tmp_path).save(state(4), step=1)
    tensors = safetensors.torch.load_file(tmp_path / made.files[0].name)
    assert torch.equal(tensors["model/w"], state(4)["model"]["w"])


def test_every_dtype_and_shape_comes_back(tmp_path: Path) -> None:
    from labkit.checkpoint.shards import DTYPES

    many = {name: torch.arange(6).view(2, 3).to(dtype) for name, dtype in DTYPES.items()}
    many |= {"scalar": torch.tensor(1.5), "empty": torch.empty(0, 3)}
    many |= {"strided": torch.arange(6).view(2, 3).T, "every second": torch.arange(8)[::2]}
    Store(tmp_path).save({"model": many}, step=1)
    loaded = Store(tmp_path).load()
    assert loaded is not None
    for name, tensor in many.items():
        back = loaded.state["model"][name]
        assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        assert repr(back) == repr(tensor)


# -- latest


def test_latest_moves_only_forward(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = (store.save(state(k), step=k) for k in (10, 20))
    assert (tmp_path / "latest").read_text() == second.name + "\n"
    store.point_to(first)
    assert (tmp_path / "latest").read_text() == second.name + "\n"
    (tmp_path / "latest").write_text("somebody's note")
    store.point_to(second)
    assert (tmp_path / "latest").read_text() == second.name + "\n"


def test_a_run_that_went_back_is_the_newest_all_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(state(20), step=20)
    store.save(state(12), step=12)
    loaded = store.load()
    assert loaded is not None
    assert loaded.manifest.step == 12


# -- what stays (fault case 40)


def listed(store: Store) -> list[int]:
    return [manifest.step for manifest in store.manifests()]


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    store = Store(tmp_path, Keep(last=2, best=1))
    for step, loss in enumerate((0.9, 0.2, 0.5, 0.6, 0.7), start=1):
        store.save(state(step), step, {"loss": loss})
    assert listed(store) == [2, 4, 5]
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


@pytest.mark.case(40)
def test_damaged_ones_neither_count_nor_go(tmp_path: Path) -> None:
    store = Store(tmp_path, Keep(last=2))
    made = [store.save(state(step), step) for step in (1, 2)]
    shard = tmp_path / made[1].files[0].name
    shard.write_bytes(shard.read_bytes()[:-1])
    store.save(state(3), 3)
    assert listed(store) == [1, 2, 3], "1 and 3 are the last two that are whole"
    store.save(state(4), 4)
    assert listed(store) == [2, 3, 4]
    assert shard.exists()


def test_remains_of_an_older_attempt_go_and_those_of_a_newer_one_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(state(1), 1)
    for name in ("00002.step-2.rank-0-of-1.safetensors", "00003.step-3.manifest.new", "notes.txt"):
        (tmp_path / name).write_bytes(b"torn")
    newer = tmp_path / "00009.step-9.rank-0-of-1.safetensors.new"
    made = store.save(state(4), 4)
    assert made.number == 4
    newer.write_bytes(b"of another rank that is writing")
    store.save(state(5), 5)  # this one has number 10
    assert {p.name for p in tmp_path.iterdir() if number_of(p.name) in (2, 3, 9)} == set()
    assert (tmp_path / "notes.txt").exists()


def made(number: int, loss: float | None) -> Manifest:
    metrics = {} if loss is None else {"loss": loss}
    return Manifest(number, 10 * number, 1, Made(), metrics, (), ())


@pytest.mark.case(40)
@given(
    st.lists(st.one_of(st.none(), st.floats(0, 9)), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 255),
)
def test_the_newest_never_goes(losses: list, last: int, best: int, gone: int) -> None:
    """Whatever is there, and whatever a collection before it had time to remove."""
    all_made = [made(k, loss) for k, loss in enumerate(losses, start=1)]
    there = [m for m in all_made if not gone >> m.number & 1] or all_made
    keep = Keep(last, best)
    going = garbage(there, [m.name for m in there], keep)
    staying = kept(there, keep)
    assert there[-1] in staying
    assert {m.name for m in staying}.isdisjoint(going)
    assert len(staying) <= last + best
    assert len(staying) >= min(last, len(there))


def test_at_least_one_is_kept() -> None:
    with pytest.raises(ValueError, match="at least the last"):
        Keep(last=0)


# -- two runs, one folder (fault case 37)

HOLDER = """
import runpy, sys
lock = runpy.run_path(sys.argv[2])["Lock"](sys.argv[1], "first")  # without importing torch
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.case(37)
def test_a_second_run_is_refused_until_the_first_one_dies(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), lock.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        second = Store(tmp_path)
        with pytest.raises(Locked, match=f"another run.*pid {first.pid} on"):
            second.save(state(), 1)
        assert list(tmp_path.glob("0*")) == []
        Store(tmp_path, run="first").save(state(), 1)  # a rank of the same run
        assert second.load() is not None, "reading needs no lock"
    finally:
        first.kill()
        first.communicate()
    second.save(state(), 2)


def test_a_lock_that_is_closed_is_free(tmp_path: Path) -> None:
    one = Lock(tmp_path, "a")
    with pytest.raises(Locked):
        Lock(tmp_path, "b")
    one.close()
    Lock(tmp_path, "b").close()


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep 0 or more of the best"):
        Keep(last=1, best=-1)
    with pytest.raises(ValueError, match="say also how many of the last"):
        Keep(best=2)
    with pytest.raises(ValueError, match="full_every=0: 1 makes every"):
        Store(tmp_path, full_every=0)
