"""Through torch.save's format and DCP's, and the training goes on with the same bits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from trained import bits, pieces, train

from labkit.checkpoint import BadCheckpoint, Store, capture, restore
from labkit.checkpoint.interop import export_dcp, export_torch, import_dcp, import_torch

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@pytest.fixture
def saved(tmp_path: Path) -> dict:
    these = pieces()
    train(these, 3)
    Store(tmp_path / "store").save(capture(these), 3)
    loaded = Store(tmp_path / "store").load()
    assert loaded is not None
    return loaded.state


def goes_on_with(state: dict) -> tuple[list, dict]:
    these = pieces(seed=1)
    these["sampler"].seed = 0
    restore(these, state)
    return train(these, 3), bits(these)


def test_through_torch_save_and_back(tmp_path: Path, saved: dict) -> None:
    export_torch(saved, tmp_path / "state.pt")
    foreign = torch.load(tmp_path / "state.pt", weights_only=True)
    pieces()["model"].load_state_dict(foreign["model"])
    assert goes_on_with(import_torch(tmp_path / "state.pt")) == goes_on_with(saved)


def test_through_dcp_and_back(tmp_path: Path, saved: dict) -> None:
    export_dcp(saved, tmp_path / "dcp")
    model = pieces(seed=1)["model"]
    weights = {"model": model.state_dict()}
    dcp.load(weights, checkpoint_id=tmp_path / "dcp")  # as anybody else would read it
    assert all(torch.equal(weights["model"][k], v) for k, v in saved["model"].items())
    assert goes_on_with(import_dcp(tmp_path / "dcp")) == goes_on_with(saved)


def test_what_dcp_has_written_itself(tmp_path: Path) -> None:
    these = pieces()
    state = {"model": these["model"].state_dict(), "step": 7}
    dcp.save(state, checkpoint_id=tmp_path)
    back = import_dcp(tmp_path)
    assert back["step"] == 7
    assert all(torch.equal(back["model"][k], v) for k, v in state["model"].items())


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("/nonexistent/evil",)


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BadCheckpoint, match=r"evil.pt: .*without executing code") as caught:
        import_torch(tmp_path / "evil.pt")
    assert "will likely succeed" not in str(caught.value)  # torch's advice to execute it


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    export_torch({"model": {"w": torch.ones(3000)}}, tmp_path / "state.pt")
    whole = (tmp_path / "state.pt").read_bytes()
    for length in (0, 10, 3000, len(whole) - 5):
        short = tmp_path / f"short-{length}.pt"
        short.write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint, match=rf"{short.name}: it is damaged or cut short \("):
            import_torch(short)
    with pytest.raises(FileNotFoundError):
        import_torch(tmp_path / "none.pt")


def test_every_optimizer_and_schedule_comes_through_dcp(tmp_path: Path) -> None:
    """They all know their things by numbers, and say nothing when words come in their place."""
    network = torch.nn.Linear(2, 2)
    pieces = {}
    for name in ("generator", "critic"):
        pieces[name] = torch.optim.Adam(network.parameters())
        pieces[f"{name} schedule"] = torch.optim.lr_scheduler.MultiStepLR(pieces[name], [3, 5])
    pieces["numbers"] = torch.nn.ParameterList([torch.ones(2), torch.zeros(3)])
    network(torch.ones(2)).sum().backward()
    pieces["generator"].step()
    state = capture(pieces)
    assert state["critic"]["state"] == {}  # which DCP forgets
    export_dcp(state, tmp_path)
    back = import_dcp(tmp_path)
    assert list(back["generator"]["state"]) == [0, 1]
    assert back["generator schedule"] == state["generator schedule"]
    assert back.keys() == state.keys()
    restore(pieces, back)


def test_a_folder_that_is_none_of_dcps_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"nothing here that is whole.*Give the folder"):
        import_dcp(tmp_path / "nowhere")
    export_dcp({"w": torch.ones(3)}, tmp_path)
    for file in tmp_path.glob("*.distcp"):
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(BadCheckpoint, match=r"cannot read it \(.+\)\. Bring it back from a copy"):
        import_dcp(tmp_path)
    (tmp_path / ".metadata").write_bytes(b"xx")
    with pytest.raises(BadCheckpoint, match=r"cannot read it \(.+\)\. Bring it back from a copy"):
        import_dcp(tmp_path)
