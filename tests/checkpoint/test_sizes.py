"""Fewer bytes: what has not changed is referred to, and what can be packed is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import zstandard

from labkit.checkpoint import Keep, NoGoodCheckpoint, Store


def state(step: int) -> dict:
    return {
        "model": {"frozen": torch.arange(5000.0), "trained": torch.full((50,), float(step))},
        "progress": {"step": step},
    }


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.glob("*.safetensors*"))]


def test_what_has_not_changed_is_referred_to_and_every_third_is_full(tmp_path: Path) -> None:
    store = Store(tmp_path, full_every=3)
    for step in range(1, 6):
        store.save(state(step), step)
    assert [size > 20_000 for size in sizes(tmp_path)] == [True, False, False, True, False]
    for made in store.manifests():
        files = {part.name: part.file for part in made.parts}
        assert files["model/trained"] == made.files[0].name
        full = 1 if made.number < 4 else 4
        assert files["model/frozen"].startswith(f"{full:05}.")
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert repr(loaded.state) == repr(state(5))


def test_the_last_one_keeps_what_it_refers_to(tmp_path: Path) -> None:
    store = Store(tmp_path, Keep(last=1), full_every=4)
    for step in range(1, 4):
        store.save(state(step), step)
    assert [made.step for made in store.manifests()] == [3]
    assert [size > 20_000 for size in sizes(tmp_path)] == [True, False], "of 1, and of 3"
    loaded = store.load()
    assert loaded is not None
    assert repr(loaded.state) == repr(state(3))
    for step in (4, 5):
        store.save(state(step), step)
    assert [size > 20_000 for size in sizes(tmp_path)] == [True], "5 is full, and alone"


def test_damage_to_a_file_that_is_referred_to_spoils_all_who_do(tmp_path: Path) -> None:
    store = Store(tmp_path, full_every=2)
    made = [store.save(state(step), step) for step in range(1, 5)]
    third = tmp_path / made[2].files[0].name
    third.write_bytes(third.read_bytes()[:-1])
    loaded = store.load()
    assert loaded is not None
    assert loaded.manifest.step == 2
    assert [third.name in remark for remark in loaded.remarks] == [True, True]


def test_a_new_life_begins_with_a_full_one(tmp_path: Path) -> None:
    Store(tmp_path, full_every=9).save(state(1), 1)
    Store(tmp_path, full_every=9).save(state(1), 1)
    assert [size > 20_000 for size in sizes(tmp_path)] == [True, True]


def test_a_tensor_that_changed_its_shape_or_type_is_no_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path, full_every=9)
    zeros = [torch.zeros(8), torch.zeros(2, 4), torch.zeros(8, dtype=torch.int32)]
    for step, tensor in enumerate(zeros):
        store.save({"model": {"w": tensor}}, step)
        loaded = store.load()
        assert loaded is not None
        assert repr(loaded.state["model"]["w"]) == repr(tensor)


# -- packed


def test_a_packed_checkpoint_is_smaller_and_has_the_same_bits(tmp_path: Path) -> None:
    store = Store(tmp_path, pack=True)
    made = store.save(state(1), 1)
    assert made.files[0].name.endswith(".safetensors.zst")
    assert sizes(tmp_path) == [made.files[0].bytes]
    assert made.files[0].bytes < 15_000
    loaded = Store(tmp_path).load()
    assert loaded is not None
    assert repr(loaded.state) == repr(state(1))
    shard = tmp_path / made.files[0].name
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(shard.read_bytes())
    assert b'"model/frozen"' in plain[:400], "`zstd -d` gives a safetensors file"


@pytest.mark.case(36)
@pytest.mark.parametrize("at", [0, 3, 100, -3])
def test_36_a_flipped_bit_in_a_packed_one_is_found(tmp_path: Path, at: int) -> None:
    made = Store(tmp_path, pack=True).save(state(1), 1)
    shard = tmp_path / made.files[0].name
    data = bytearray(shard.read_bytes())
    data[at] ^= 1
    shard.write_bytes(data)
    with pytest.raises(NoGoodCheckpoint, match=shard.name):
        Store(tmp_path).load()
