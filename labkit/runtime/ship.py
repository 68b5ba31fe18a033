"""Functions and arguments on their way to the workers."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from labkit.protocols.codec import message_decoder
from labkit.runtime.structs import dumps
from labkit.runtime.wire import MAX_FRAME


def pack(function: Callable[..., Any], arguments: dict[str, Any]) -> bytes:
    """Function and arguments as bytes, by value. Raises TypeError naming what cannot be sent."""
    if not callable(function):
        raise TypeError(f"cluster.run takes a function, not {function!r}")
    try:
        packed = dumps((function, arguments, _cells()))
    except Exception as error:
        raise TypeError(_culprit(function, arguments)) from error
    if len(packed) > MAX_FRAME - 4096:
        raise ValueError(
            f"function and arguments are {len(packed) >> 20} MB, the wire carries at most "
            f"{MAX_FRAME >> 20} MB: let each rank load or make its own data"
        )
    return packed


def unpack(packed: bytes) -> tuple[Callable[..., Any], dict[str, Any]]:
    """In the worker: function and arguments. Tracebacks show the lines of cells from now on."""
    function, arguments, cells = cloudpickle.loads(packed)
    linecache.cache.update(cells)
    return function, arguments


def _cells() -> dict[str, Any]:
    """The cells of the notebook, which are in no file: IPython keeps their lines for tracebacks, as
    entries that never go out of date (no time of change)."""
    return {file: entry for file, entry in linecache.cache.items() if entry[1:2] == (None,)}


def pack_protocols(protocols: Mapping[str, Any]) -> bytes:
    """Classes of protocols by name, as bytes. Raises TypeError naming what cannot be sent."""
    for name, protocol in protocols.items():
        message_decoder(protocol)  # raises TypeError where a handler says too little
        try:
            dumps(protocol)
        except Exception as error:
            raise TypeError(
                f"the protocol {name!r} cannot be sent to the ranks: {error}"
            ) from error
    return dumps(dict(protocols))


def _culprit(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    for name, value in arguments.items():
        try:
            dumps(value)
        except Exception as error:
            return (
                f"the argument {name!r} of {_name(function)} cannot be sent to the ranks "
                f"({error}): send what it is made from, and make it inside the function"
            )
    return (
        f"the function {_name(function)} cannot be sent to the ranks: it refers to something "
        "that belongs to this process (an open file, a lock, a cluster): make that inside the "
        "function, or pass it as plain data"
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))
