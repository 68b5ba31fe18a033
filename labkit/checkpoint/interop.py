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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException as DCPFailed
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp

from labkit.checkpoint.files import publish
from labkit.checkpoint.manifest import BadCheckpoint
from labkit.disk import RealDisk

EMPTY = "$empty"
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
    """A folder as `dcp.save` writes it, of one rank. DCP forgets mappings that are empty, as the
    state of an optimizer that has made no step: where they were stands under the key "$empty"."""
    empty = [list(way) for way in _empty(state)]
    with tempfile.TemporaryDirectory() as name:
        export_torch({**state, EMPTY: empty} if empty else state, Path(name, "state.pt"))
        torch_save_to_dcp(Path(name, "state.pt"), folder)


def import_dcp(folder: Way) -> Any:
    """The state that `dcp.save` has written, by any number of ranks. DCP itself unpickles its
    `.metadata`: import only what you would also run.

    DCP makes words of all keys. An optimizer that is given its state under "0" in place of 0 says
    nothing and begins without it, and so does a schedule with its milestones; so these are made
    numbers again (`_numbered`). Raises BadCheckpoint for a folder that is none of DCP's, or damaged
    so that it shows.
    """
    where = Path(folder)
    if not (where / ".metadata").is_file():
        raise BadCheckpoint(
            f"{where}: torch.distributed.checkpoint has written nothing here that is whole, since "
            "there is no .metadata. Give the folder that dcp.save was given."
        )
    with tempfile.TemporaryDirectory() as name:
        try:
            dcp_to_torch_save(where, Path(name, "state.pt"))
        except (DCPFailed, RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise BadCheckpoint(
                f"{where}: torch.distributed.checkpoint cannot read it ({_last_line(error)}). "
                "Bring it back from a copy."
            ) from error
        state = import_torch(Path(name, "state.pt"))
    for *way, last in state.pop(EMPTY, []):
        inside = state
        for key in way:
            inside = inside.setdefault(key, {})
        inside[last] = {}
    return _numbered(state)


def _empty(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to the empty mappings in it."""
    if isinstance(tree, Mapping):
        if not tree and way:
            yield way
        for key, value in tree.items():
            yield from _empty(value, (*way, str(key)))


def _last_line(error: BaseException) -> str:
    """DCP's exceptions quote a traceback, of which this is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")


def _numbered(tree: Any) -> Any:
    """Mappings all of whose keys are numbers in words get numbers for keys; except where tensors
    hang on them, as on the words of an nn.ParameterList."""
    if isinstance(tree, list | tuple):
        return type(tree)(map(_numbered, tree))
    if not isinstance(tree, Mapping):
        return tree
    inside = {key: _numbered(value) for key, value in tree.items()}
    words = all(isinstance(key, str) and key.isdecimal() for key in inside)
    if words and not any(isinstance(value, Tensor) for value in inside.values()):
        return {int(key): value for key, value in inside.items()}
    return inside
