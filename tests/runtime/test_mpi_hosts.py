"""Ranks that one `mpiexec` starts on several hosts, which are network namespaces here: a program in
place of ssh enters them. The driver is a process on a host of its own, the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outside import held, wait_until, write_program

from labkit.runtime.address import is_here
from labkit.runtime.launch import namespaces
from labkit.runtime.launch.mpi import host_file
from labkit.runtime.launch.network import Network, _index, _kernel

WHY_NOT = namespaces.why_not()
needs_hosts = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


class Machines:
    """Two hosts, a driver's, and the file that names the two."""

    def __init__(self, folder: Path) -> None:
        self.network, self.folder = Network(), folder
        self.names = [self.network.add().address for _ in range(2)]
        self.network._hub.inside(_loopback)
        us = f"/proc/{os.getpid()}/fd"
        spaces = {name: host.namespace for name, host in self.network.hosts.items()}
        ways = [f"{n}) way='--net={us}/{s.net} --uts={us}/{s.uts}';;" for n, s in spaces.items()]
        self.ssh = write_program(
            folder / "into", "host=$1; shift", "case $host in", *ways, "*) exit 255;; esac",
            'exec nsenter $way sh -c "$*"',
        )  # fmt: skip
        self.file = folder / "hosts"
        self.file.write_text("".join(f"{name} slots=2  # of two\n" for name in self.names))

    def others(self, hub_alone: bool = False) -> list[str]:
        """Who else is on the driver's host, and on the two."""
        hosts = [] if hub_alone else list(self.network.hosts.values())
        spaces = [self.network._hub, *(host.namespace for host in hosts)]
        found = held({os.fstat(space.net).st_ino for space in spaces})
        return [place for place in found if not place.startswith(f"/proc/{os.getpid()}/")]

    def driver(self, program: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "PRTE_MCA_plm_ssh_agent": str(self.ssh),
            "LABKIT_HOSTFILE": str(self.file),
            "LABKIT_LAUNCHER": "mpi",
        }
        command = [sys.executable, "-c", program]
        return self.network._hub.inside(
            lambda: subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )


def _loopback() -> None:
    with _kernel() as kernel:
        kernel.link("set", index=_index(kernel, "lo"), state="up")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(tmp_path)
    yield machines
    for name in machines.names:
        machines.network.plug(name, True)  # who has waited there for a word hears that it is over
    wait_until(lambda: not machines.others(), "somebody is left on a host")
    machines.network.close()


def told(driver: subprocess.Popen[str]) -> Any:
    """The last line that it prints."""
    assert driver.stdout is not None
    with driver.stdout as lines:
        said = lines.read().splitlines()
    assert driver.wait(20) == 0
    return json.loads(said[-1])


TRAINING = """
import json
from labkit import Cluster
from labkit.training.loop import train

job = {"model": "cnn", "steps": 40, "algorithm": "in_order"}
with Cluster(4, "gloo", "cpu", max_restarts=2) as cluster:
    seats = cluster._driver.seats
    before = [[seats[rank].host, seats[rank].address[0]] for rank in range(5)]
    run = cluster.run(train, elastic=True, minimum=4, **job)
    run.wait_step(10)
    cluster.pause(3)
    cluster.resume(3)
    cluster.kill(2)
    run.wait(timeout=60)
    after = [[seats[rank].host, seats[rank].address[0]] for rank in range(5)]
    hashes = [result["hash"] for result in run.results.values()]
    print(json.dumps([before, after, hashes, run.deaths[2].signal, str(cluster.placement)]))
"""


@needs_hosts
def test_ranks_fill_the_hosts_and_one_that_is_killed_there_comes_back_there(
    machines: Machines,
) -> None:
    before, after, hashes, signal, placement = told(machines.driver(TRAINING))
    first, second = ([name, name] for name in machines.names)
    assert before == after == [first, first, second, second, first]
    assert len(hashes) == 4
    assert len(set(hashes)) == 1
    assert signal == "SIGKILL"
    assert "on each of 2 hosts" in placement


GPUS = """
import json
from labkit import Cluster
from labkit.runtime import machine

def visible(worker):
    import os
    return os.environ["LABKIT_HOST"], os.environ["CUDA_VISIBLE_DEVICES"]

machine._torch_cuda, machine._has_nccl = lambda: "13.0", lambda: False
with Cluster(4) as cluster:
    found = cluster.run(visible).wait(timeout=60).results
    print(json.dumps([list(found.values()), str(cluster.placement)]))
"""


@needs_hosts
def test_every_host_is_taken_to_have_the_gpus_of_the_drivers(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = (f"echo 'GPU {number}: H200 (UUID: GPU-{number})'" for number in range(2))
    write_program(machines.folder / "nvidia-smi", *gpus)
    monkeypatch.setenv("PATH", f"{machines.folder}:{os.environ['PATH']}")
    found, placement = told(machines.driver(GPUS))
    assert found == [[name, gpu] for name in machines.names for gpu in ("0", "1")]
    assert "4 ranks, 2 GPUs on each of 2 hosts" in placement
    assert "one GPU a rank" in placement


LOSS = """
import json, sys
from labkit import Cluster
from labkit.training.loop import train

with Cluster(4, "gloo", "cpu", max_restarts=4) as cluster:
    run = cluster.run(train, elastic=True, minimum=4, steps=100_000)
    run.wait_step(10)
    print("it trains", flush=True)
    sys.stdin.readline()
    cluster.kill(2)
    run.wait_step(max(run.steps.values()) + 20, timeout=60)
    hosts = [cluster._driver.seats[rank].host for rank in range(4)]
    lost = sorted(rank for rank in run.deaths if "host" in str(run.deaths[rank]))
    print(json.dumps([hosts, lost]))
    run.cancel()
"""


@needs_hosts
def test_the_ranks_of_a_lost_host_begin_anew_on_another(machines: Machines) -> None:
    """Its cable is pulled: no connection closes, and mpiexec does not know either, nor the one
    that is to carry a signal there."""
    driver = machines.driver(LOSS)
    assert driver.stdout is not None
    assert driver.stdin is not None
    assert driver.stdout.readline() == "it trains\n"
    kept, lost = machines.names
    machines.network.plug(lost, False)
    driver.stdin.write("\n")
    driver.stdin.close()
    assert told(driver) == [[kept] * 4, [2, 3]]
    wait_until(lambda: not machines.others(hub_alone=True), "mpiexec waits for the lost host")


def test_a_host_file_names_each_host_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hosts"
    file.write_text("# two of them\nnode1 slots=4\n\nnode2  # the other\nnode1 slots=2\n")
    monkeypatch.setenv("LABKIT_HOSTFILE", str(file))
    assert host_file() == ["node1", "node2"]
    monkeypatch.delenv("LABKIT_HOSTFILE")
    assert host_file() == []


def test_which_host_is_this_one() -> None:
    assert is_here("localhost")
    assert is_here("127.0.1.1")
    assert not is_here("192.0.2.7")  # nobody's: RFC 5737
    assert not is_here("no-such-host.invalid")
