"""Where the others reach this process: at the address of its route to the driver.

A host's own name may resolve to 127.0.1.1, or to nothing, and a host with two network cards has an
address that leads nowhere: the card that reaches the driver is the one that is known to work.
"""

from __future__ import annotations

import ipaddress
import os
import socket

import psutil


def host_name() -> str:
    """Of this host, as the launcher knows it: a host file or Slurm may have names of their own."""
    known = os.environ.get("LABKIT_HOST") or os.environ.get("SLURMD_NODENAME")
    return known or os.uname().nodename


def is_here(name: str) -> bool:
    """Whether a host of that name is this one: an address of its own is one that it can bind."""
    try:
        family, _, _, _, address = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def route_to(address: str) -> str:
    """This host's own address on its way to `address`, an IP address or a name; sends nothing.
    Raises OSError where there is no way."""
    family, _, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def advertise(address: str) -> None:
    """Gloo and NCCL use the card of `address` in this process, unless the user has named one."""
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        os.environ["LABKIT_ADDRESS"] = address  # for the lab's own groups
    if ipaddress.ip_address(address).is_loopback:
        return
    card = card_of(address)
    if card is not None:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, card)


def card_of(address: str) -> str | None:
    """The name of the network card that has this address."""
    for card, addresses in psutil.net_if_addrs().items():
        if any(known.address.split("%")[0] == address for known in addresses):
            return card
    return None
