"""Bare process groups of torch, without the global default group: they can be left behind."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from labkit.collectives.link import Link
from labkit.collectives.links.torch_p2p import CONNECT_SECONDS, TorchLink, wait_for_the_left

OPERATION_SECONDS = 1800.0
"""Nothing waits on Gloo's own time-out: the group's deadline and its detector come first."""
NCCL_SETTINGS = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
    "TORCH_NCCL_NONBLOCKING_TIMEOUT": f"{CONNECT_SECONDS:.0f}",
}
"""For the survivors of a death. Two of torch's threads watch every group, and would end the process
when NCCL reports a lost peer, or nothing moves (torch, ProcessGroupNCCL.cpp: handleException,
HeartbeatMonitor::runLoop). And who waits for a peer to connect holds the lock that an abort needs,
half an hour unless told (NCCLComm::waitReady)."""


def form(
    backend: str,
    device: str,
    store: dist.Store,
    place: int,
    size: int,
    members: Sequence[int],
) -> tuple[Link, Any]:
    """Connects `size` members through `store`. Blocks until all have come, or the store's own
    time-out has passed; runs on the group's thread."""
    nccl = backend == "nccl"
    group = _nccl(store, place, device, members) if nccl else _gloo(store, place, size)
    return TorchLink(group, backend, device, members), group


def _gloo(store: dist.Store, place: int, size: int) -> Any:
    options: Any = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    address, interface = os.environ.get("LABKIT_ADDRESS"), os.environ.get("GLOO_SOCKET_IFNAME")
    # A host's own name may resolve to 127.0.1.1 or to nothing: an address is certain.
    options._devices = [
        dist.ProcessGroupGloo.create_device(interface=interface)
        if interface and not address
        else dist.ProcessGroupGloo.create_device(hostname=_own_address())
    ]
    options._timeout = timedelta(seconds=OPERATION_SECONDS)
    return dist.ProcessGroupGloo(store, place, size, options)


def _nccl(store: dist.Store, place: int, device: str, members: Sequence[int]) -> Any:
    """Not blocking, so that one that waits for a dead peer can be aborted by another thread."""
    wait_for_the_left()
    for name, value in NCCL_SETTINGS.items():
        os.environ.setdefault(name, value)
    options = dist.ProcessGroupNCCL.Options()
    options.config.blocking = 0
    options.global_ranks_in_group = list(members)
    options._timeout = timedelta(seconds=OPERATION_SECONDS)
    torch.cuda.set_device(device)
    return dist.ProcessGroupNCCL(store, place, len(members), options)


def _own_address() -> str:
    """The address that the worker's wire listens on; loopback on one machine."""
    address = os.environ.get("LABKIT_ADDRESS", "127.0.0.1")
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return socket.gethostbyname(address)
