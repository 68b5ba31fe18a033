"""To and from what others write: a plain `torch.save` dictionary, and torch.distributed.checkpoint.

    export_torch(store.load().state, "state.pt")     # torch.load("state.pt", weights_only=True)
    store.save(import_torch("state.pt"), step=100)
    export_dcp(store.load().state, "dcp/")           # a folder that dcp.load reads

A foreign dictionary need not have the lab's pieces: where it is the weights alone, say
`{"model": import_torch(path)}`. Neither format has checksums.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp

from labkit.checkpoint.files import publish
from labkit.checkpoint.manifest import BadCheckpoint
from labkit.disk import RealDisk

Way = str | os.PathLike[str]


def export_torch(state: Mapping[str, Any], path: Way) -> None:
    """A dictionary of dictionaries, as `capture` gives it; durable when this returns."""
    file = io.BytesIO()
    torch.save(dict(state), file)
    disk = RealDisk(Path(path).parent)
    try:
        publish(disk, Path(path).name, [file.getbuffer()])
    finally:
        disk.close()


def import_torch(path: Way) -> Any:
    """What `torch.save` has written, on the CPU. Executes nothing: raises BadCheckpoint for a file
    that would have to, and for one that is damaged so that it shows."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadCheckpoint(
            f"{path}: torch cannot read it without executing code ({_first_sentence(error)}). Save "
            "tensors, numbers, words, lists and dictionaries only, where it comes from."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # it is not there, or not for this user; of a cut file a place before its begin
        raise BadCheckpoint(
            f"{path}: it is damaged or cut short ({_first_sentence(error)}). Bring it back from a "
            "copy."
        ) from error


def _first_sentence(error: Exception) -> str:
    """torch's next ones advise to execute whatever the file says."""
    return re.split(r"\. |\n", str(error).strip())[0].rstrip(".") or type(error).__name__


def export_dcp(state: Mapping[str, Any], folder: Way) -> None:
    """A folder as `dcp.save` writes it, of one rank."""
    with tempfile.TemporaryDirectory() as name:
        export_torch(state, Path(name, "state.pt"))
        torch_save_to_dcp(Path(name, "state.pt"), folder)


def import_dcp(folder: Way) -> Any:
    """The state that `dcp.save` has written, by any number of ranks. DCP itself unpickles its
    `.metadata`: import only what you would also run.

    DCP makes words of all keys. An optimizer that is given its state under "0" in place of 0 says
    nothing and begins without it, so these are made numbers again.
    """
    with tempfile.TemporaryDirectory() as name:
        dcp_to_torch_save(folder, Path(name, "state.pt"))
        state = import_torch(Path(name, "state.pt"))
    if "optimizer" in state and "state" in state["optimizer"]:
        kept = state["optimizer"]["state"]
        state["optimizer"]["state"] = {int(k) if k.isdigit() else k: v for k, v in kept.items()}
    return state
