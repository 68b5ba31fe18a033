"""Ranks on hosts of their own: what bad links and lost hosts do, to Gloo and to everything else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from outside import held, running, wait_until

from labkit import At, Bandwidth, Cluster, LinkDown
from labkit.runtime.launch import namespaces
from labkit.runtime.launch.relay import QUEUE_BYTES, Link
from labkit.runtime.run import Run
from labkit.training.loop import train

WHY_NOT = namespaces.why_not()
needs_hosts = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
SILENCE = 1.0
"""Seconds; long enough for a test machine whose cores are all busy."""


@pytest.fixture
def hosts() -> Iterator[Cluster]:
    with Cluster(4, backend="gloo", device="cpu", hosts="namespaces", silence=SILENCE) as cluster:
        yield cluster


@pytest.fixture
def pair() -> Iterator[Cluster]:
    """Whose links may be as bad as they like: no silence is taken for a death."""
    with Cluster(2, backend="gloo", device="cpu", hosts="namespaces", silence=60.0) as cluster:
        yield cluster


def members(cluster: Cluster, rank: int) -> tuple[int, ...]:
    return cluster._driver.seats[rank].view.members


def training(worker: Any) -> None:
    from labkit import PeerLost

    group, tensor, step = worker.group, worker.tensor(100_000), 0
    while True:
        step += 1
        worker.step(step)
        try:
            group.all_reduce(tensor.fill_(1.0), algorithm="builtin")
        except PeerLost:
            group = worker.regroup()


def go_on(run: Run, ranks: tuple[int, ...], steps: int = 20) -> None:
    reached = max(run.steps.get(rank, 0) for rank in ranks)
    wait_until(
        lambda: all(run.steps.get(rank, 0) >= reached + steps for rank in ranks),
        f"ranks {ranks} do not go on",
    )


# -- a network of their own


@needs_hosts
def test_everything_goes_by_the_network_of_the_hosts(hosts: Cluster) -> None:
    def reduce(worker: Any) -> tuple[str, str, list[float], str]:

        import torch
        from torch import distributed as dist

        try:
            worker.group.all_reduce(worker.tensor(10), algorithm="shared_memory")
        except ValueError as error:
            refused = str(error)
        sums = [
            worker.group.all_reduce(torch.full((1000,), worker.rank + 1.0), algorithm=name)
            for name in ("ring", "builtin")
        ]
        worker.init_process_group()  # torch finds the card by its own means
        sums.append(torch.full((1000,), worker.rank + 1.0))
        dist.all_reduce(sums[-1])
        address = os.environ["LABKIT_ADDRESS"]
        return os.uname().nodename, address, [float(s.min()) for s in sums], refused

    cards = socket.if_nameindex()
    results = hosts.run(reduce).wait().results

    names, addresses, sums, refused = zip(*results.values(), strict=True)
    assert len(set(names)) == len(set(addresses)) == 4
    assert not {"127.0.0.1", "127.0.1.1"} & set(addresses)
    assert [total for of_rank in sums for total in of_rank] == 12 * [10.0]
    assert "many hosts" in refused[0]
    assert socket.if_nameindex() == cards, "this machine's own network has changed"


# -- a lost host


@needs_hosts
def test_a_lost_host_is_noticed_by_its_silence_and_its_rank_ends_when_it_is_heard_again(
    hosts: Cluster,
) -> None:
    run = hosts.run(training)
    run.wait_step(5)
    lost = psutil.Process(hosts.status().rows[2]["pid"])

    hosts.link_down(2)
    wait_until(lambda: members(hosts, 0) == (0, 1, 3), "rank 2 is still in the view")
    go_on(run, (0, 1, 3))
    assert run.deaths[2].signal == "the loss of its host"
    assert running(lost), "nobody can have told it"

    hosts.link_up(2)
    wait_until(lambda: not running(lost), "rank 2 goes on as if nothing had been")
    go_on(run, (0, 1, 3))
    run.cancel()
    hosts.restart(2)
    assert members(hosts, 0) == (0, 1, 2, 3)


@needs_hosts
def test_an_elastic_run_goes_on_with_a_spare_on_another_host() -> None:
    """Rank 2 pulls its own cable at a step of the plan; its life on that host cannot be ended."""
    settings: dict[str, Any] = {"hosts": "namespaces", "silence": SILENCE, "max_restarts": 1}
    with Cluster(4, "gloo", "cpu", spares=1, **settings) as hosts:
        lost, where = (hosts.status().rows[2]["pid"], hosts._driver.seats[2].address)
        run = hosts.run(train, elastic=True, steps=100_000, faults=[At(LinkDown(2), step=20)])

        wait_until(lambda: hosts._driver.seats[2].life == 1, "rank 2 has no other life")
        wait_until(lambda: members(hosts, 2) == (0, 1, 2, 3), "rank 2 does not return")
        go_on(run, (0, 1, 2, 3))
        assert hosts._driver.seats[2].address[0] != where[0]  # type: ignore[index]
        assert running(psutil.Process(lost))

        hosts.heal()
        wait_until(lambda: not psutil.pid_exists(lost), "its life before goes on")
        go_on(run, (0, 1, 2, 3))
        run.cancel()


# -- partitions


@pytest.mark.case(17, 18)
@needs_hosts
@pytest.mark.parametrize("minority", [(3,), (2, 3)])
def test_only_the_side_with_a_majority_makes_progress(
    hosts: Cluster, minority: tuple[int, ...]
) -> None:
    majority = tuple(rank for rank in range(4) if rank not in minority)
    run = hosts.run(training)
    run.wait_step(5)

    hosts.partition([*majority, hosts.witness], minority)
    wait_until(lambda: members(hosts, 0) == majority, f"{minority} are still in the view")
    go_on(run, majority)
    stuck = {rank: run.steps[rank] for rank in minority}
    go_on(run, majority)
    assert {rank: run.steps[rank] for rank in minority} == stuck

    hosts.heal()
    wait_until(lambda: set(run.deaths) == set(minority), "who was cut off has not ended")
    go_on(run, majority)
    hosts.restart(*minority)
    assert members(hosts, 0) == (0, 1, 2, 3)


# -- bad links


def all_reduces(worker: Any, size: int, times: int) -> list[float]:
    """Seconds of each, of so many float32."""
    import time

    seconds, tensor = [], worker.tensor(size)
    worker.group.barrier()
    for _ in range(times):
        begin = time.monotonic()
        total = worker.group.all_reduce(tensor.fill_(1.0))
        seconds.append(time.monotonic() - begin)
        assert float(total.min()) == 2.0
    return seconds


@needs_hosts
def test_late_slow_and_lossy_links_are_felt_by_an_all_reduce(pair: Cluster) -> None:
    def seconds(size: int, times: int) -> list[float]:
        return pair.run(all_reduces, size=size, times=times).wait().results[1]

    # The shortest of several: the cores of a test machine may be busy.
    small, large = 10, 1_000_000  # 4 MB, of which each link carries as much
    assert min(seconds(small, 5)) < 0.1
    assert min(seconds(large, 3)) < 0.3

    pair.delay(0, 1, 0.2)
    assert 0.2 < min(seconds(small, 3)) < 0.5
    pair.heal()

    pair.bandwidth(0, 1, 8e6)
    assert 0.4 < min(seconds(large, 2)) < 2.0
    pair.heal()

    pair.drop(0, 1, 0.2)
    assert max(seconds(small, 25)) > 0.15, "TCP sends again after 200 ms at the earliest"
    pair.heal()
    assert min(seconds(small, 5)) < 0.1
    assert min(seconds(large, 3)) < 0.3


def test_a_link_sends_one_frame_after_the_other_and_drops_what_its_queue_cannot_hold() -> None:
    """1 MB a second, 50 ms long: as in tc-netem(8), sending comes first and the way after it."""
    from random import Random

    link, dice = Link(False, 0.05, 0.0, 1e6), Random(0)
    size = 10_000
    due = [link.due(7.0, size, dice) for _ in range(100)]
    taken = [d for d in due if d is not None]
    assert taken == [pytest.approx(7.05 + 0.01 * i) for i in range(1, len(taken) + 1)]
    assert len(taken) == QUEUE_BYTES // size + 1
    assert link.due(8.0, size, dice) == pytest.approx(8.06)
    assert Link(True, 0.0, 0.0, 0.0).due(7.0, size, dice) is None
    lost = sum(Link(False, 0.0, 0.25, 0.0).due(7.0, size, dice) is None for _ in range(1000))
    assert 200 < lost < 300


# -- nothing is left


DRIVER = """
import os, sys, time
from labkit import Cluster
cluster = Cluster(2, backend="gloo", device="cpu", hosts="namespaces")
network = cluster._driver.launcher.network
cluster.delay(0, 1, 0.01)
spaces = [network._hub, *(host.namespace for host in network.hosts.values())]
print(*(os.fstat(space.net).st_ino for space in spaces), flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
cluster.close()
files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
assert not [file for file in files if os.path.islink(file) and "net:[" in os.readlink(file)]
"""


@needs_hosts
@pytest.mark.parametrize("end", ["close", "SIGKILL"])
def test_no_namespace_and_no_process_is_left(end: str) -> None:
    """Also the relay of bad links goes, and with the namespaces all that was in them."""
    how = "wait" if end == "SIGKILL" else end
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, how], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    inodes = {int(word) for word in driver.stdout.readline().split()}
    assert len(inodes) == 4  # the hub, two ranks, the witness
    if end == "SIGKILL":
        family = psutil.Process(driver.pid).children(recursive=True)
        assert len(family) == 5  # the fork server, two ranks, the witness, the relay
        assert len(held(inodes)) >= 4
        driver.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(running, family)), f"some of {family} still run")
    assert driver.wait(30) == (0 if end == "close" else -signal.SIGKILL)
    driver.stdout.close()
    wait_until(lambda: not held(inodes), "a namespace is still held")


# -- what cannot work

WITHOUT = """
import os
import labkit.runtime.cluster, labkit.runtime.launch.hosts
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    labkit.runtime.cluster.Cluster(2, hosts="namespaces")
except PermissionError as error:
    print(error)
"""


def test_without_the_right_one_sentence_says_what_to_do() -> None:
    command = [sys.executable, "-c", WITHOUT]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith('hosts="namespaces" needs Linux, and root or the capabilities')
    assert "sudo -E" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"hosts": "docker"}, "'namespaces'"), ({"hosts": "namespaces", "launcher": "mpi"}, "'mpi'")],
)
def test_what_there_is_not_is_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Cluster(2, **settings)  # type: ignore[arg-type]


def test_faults_of_hosts_need_hosts() -> None:
    with Cluster(2, backend="gloo", device="cpu") as cluster:
        for fault in (LinkDown(1), Bandwidth(0, 1, 1e6)):
            with pytest.raises(ValueError, match='hosts="namespaces"'):
                cluster.inject(fault)
