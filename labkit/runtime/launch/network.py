"""A network of hosts on one machine, whose links can be unplugged and made bad.

    hub:     br0 10.77.0.1, where the driver listens
              ├── p1     ├── p2     ├── p3           one cable (a veth pair) to each host
    hosts:   eth0       eth0       eth0
             10.77.0.2  10.77.0.3  10.77.0.4

Hub and hosts are namespaces, without a way to the machine's own network, of which nothing changes.
A link that is to be bad is none of the kernel's bridge any more: the frames of that host pass a
small program, `relay.py`, which delays, drops and slows them.
(The kernel's own tc-netem(8) can do the same, where it has been built in.)

              br0 ── t2 ════ s2 ── relay ── p2       host 2 sends through the relay
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.faults import LinkState
from labkit.runtime.launch.namespaces import Namespace

HUB, NETWORK = "10.77.0.1", "10.77.0"
BITS = 24
MOST = 250


@dataclass
class Host:
    """Number `number` of the network, at `address`. `bad` are its links that are not as they
    should be, by the address to which they lead."""

    number: int
    address: str
    namespace: Namespace
    plugged: bool = True
    bad: dict[str, LinkState] = field(default_factory=dict)

    @property
    def port(self) -> str:
        """The hub's end of its cable."""
        return f"p{self.number}"


class Network:
    """Any thread may call; each change is in force when its call returns."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.hosts: dict[str, Host] = {}
        self._lock = threading.Lock()
        self._relay: subprocess.Popen[str] | None = None
        self._hub = Namespace("hub")
        try:
            self._hub.inside(self._make_bridge)
        except Exception as error:
            self._hub.close()
            raise RuntimeError(f"this kernel makes no bridge in a namespace: {error}") from error

    def _make_bridge(self) -> None:
        with _kernel() as kernel:
            # Unless it is given one, its hardware address is the lowest of its ports', and changes
            # under the hosts that know it when another is plugged in.
            kernel.link("add", ifname="br0", kind="bridge", address="02:00:0a:4d:00:01")
            self._bridge = _index(kernel, "br0")
            kernel.addr("add", index=self._bridge, address=HUB, prefixlen=BITS)
            kernel.link("set", index=self._bridge, state="up")

    def bind(self) -> socket.socket:
        """A socket of this process at which all hosts can reach it, on a port of the kernel's
        choice."""
        return self._hub.inside(lambda: socket.create_server((HUB, 0), backlog=128))

    def add(self) -> Host:
        """Another host. Raises RuntimeError when there is no room for one."""
        with self._lock:
            number = len(self.hosts) + 1
            if number > MOST:
                raise RuntimeError(f"{MOST} hosts have been used up: make a new cluster")
            host = Host(number, f"{NETWORK}.{number + 1}", Namespace(f"host{number}"))
            self.hosts[host.address] = host
            self._hub.inside(lambda: self._plug_in(host))
            host.namespace.inside(lambda: _set_up(host))
            return host

    def _plug_in(self, host: Host) -> None:
        with _kernel() as kernel:
            other = {"ifname": "eth0", "net_ns_fd": host.namespace.net}
            kernel.link("add", ifname=host.port, kind="veth", peer=other)
            kernel.link("set", index=_index(kernel, host.port), master=self._bridge, state="up")

    # -- faults

    def plug(self, address: str, plugged: bool) -> None:
        """Pulls the host's cable, or puts it back: without it not a packet passes."""
        host = self.hosts[address]

        def act() -> None:
            with _kernel() as kernel:
                state = "up" if plugged else "down"
                kernel.link("set", index=_index(kernel, host.port), state=state)

        with self._lock:
            if host.plugged != plugged:
                host.plugged = plugged
                self._hub.inside(act)

    def impair(self, links: Mapping[tuple[str, str], LinkState]) -> None:
        """From now on these links, from one address to another, are bad, and no others."""
        with self._lock:
            before = {host.number for host in self.hosts.values() if host.bad}
            for host in self.hosts.values():
                host.bad = {b: state for (a, b), state in links.items() if a == host.address}
            bad = [host for host in self.hosts.values() if host.bad]
            good = [h for h in self.hosts.values() if h.number in before and not h.bad]
            if new := [host for host in bad if host.number not in before]:
                self._hub.inside(lambda: self._detour(new))
            self._tell_relay(bad)
            if good:
                self._hub.inside(lambda: self._back_to_bridge(good))

    def _detour(self, hosts: list[Host]) -> None:
        with _kernel() as kernel:
            for host in hosts:
                ends = f"s{host.number}", f"t{host.number}"
                kernel.link("add", ifname=ends[0], kind="veth", peer={"ifname": ends[1]})
                kernel.link("set", index=_index(kernel, ends[0]), state="up")
                kernel.link("set", index=_index(kernel, ends[1]), master=self._bridge, state="up")
                kernel.link("set", index=_index(kernel, host.port), master=0)

    def _back_to_bridge(self, hosts: list[Host]) -> None:
        with _kernel() as kernel:
            for host in hosts:
                kernel.link("del", index=_index(kernel, f"s{host.number}"))
                kernel.link("set", index=_index(kernel, host.port), master=self._bridge)

    def _tell_relay(self, bad: list[Host]) -> None:
        """Which hosts it is to serve, and how; waits until it does."""
        if self._relay is None:
            if not bad:
                return
            self._relay = self._start_relay()
        lanes = [
            {
                "port": host.port,
                "stub": f"s{host.number}",
                "links": {to: [s.cut, s.delay, s.drop, s.rate] for to, s in host.bad.items()},
            }
            for host in bad
        ]
        assert self._relay.stdin is not None
        assert self._relay.stdout is not None
        try:
            self._relay.stdin.write(json.dumps(lanes) + "\n")
            self._relay.stdin.flush()
            answer = self._relay.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError("the relay of bad links has ended: make a new cluster")

    def _start_relay(self) -> subprocess.Popen[str]:
        """It ends when its input does: with this process, at the latest."""
        program = str(Path(__file__).with_name("relay.py"))
        return self._hub.inside(
            lambda: subprocess.Popen(
                [sys.executable, "-IS", program, str(self.seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # a Ctrl-C in the terminal is the driver's business
            )
        )

    def close(self) -> None:
        """Lets go of it all; who is still in there keeps their part of it."""
        with self._lock:
            if self._relay is not None:
                assert self._relay.stdin is not None
                assert self._relay.stdout is not None
                with contextlib.suppress(BrokenPipeError):
                    self._relay.stdin.close()
                self._relay.wait()
                self._relay.stdout.close()
            for host in self.hosts.values():
                host.namespace.close()
            self.hosts.clear()
            self._hub.close()


def _set_up(host: Host) -> None:
    """In its namespace: its card, and its loopback."""
    with _kernel() as kernel:
        card = _index(kernel, "eth0")
        kernel.addr("add", index=card, address=host.address, prefixlen=BITS)
        for index in (_index(kernel, "lo"), card):
            kernel.link("set", index=index, state="up")


@contextlib.contextmanager
def _kernel() -> Iterator[Any]:
    """The kernel's network (rtnetlink(7)), of the namespace in which this thread is."""
    from pyroute2 import IPRoute

    with IPRoute() as kernel:
        yield kernel


def _index(kernel: Any, name: str) -> int:
    index: int = kernel.link_lookup(ifname=name)[0]
    return index
