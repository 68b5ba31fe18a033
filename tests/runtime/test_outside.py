"""Workers that somebody else starts, on other hosts: their life, their clock, their health."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from outside import wait_until

import labkit
from labkit import Cluster
from labkit.flight import Record
from labkit.runtime import health
from labkit.runtime.clocks import offset
from labkit.runtime.launch import launcher_for, namespaces, network
from labkit.runtime.launch.launcher import AWAY_SILENCE
from labkit.runtime.line import complain
from labkit.runtime.loop import Loop

WHY_NOT = namespaces.why_not()
needs_hosts = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
AHEAD = 1000.0
OTHER_CLOCK = ["unshare", "--time", "--fork", f"--monotonic={AHEAD:.0f}"]
TOKEN = "5a" * 32


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Outside:
    """Who starts workers for the driver that listens at `port`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.http = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, rank: int, *prefix: str, **settings: str) -> subprocess.Popen[bytes]:
        lab = str(Path(labkit.__file__).parents[1])
        words = {"LABKIT_RANK": str(rank), "LABKIT_LIFE": "-1", "PYTHONPATH": lab, **settings}
        worker = [sys.executable, "-P", "-m", "labkit.worker", "--join", f"127.0.0.1:{self.port}"]
        environment = os.environ | {"LABKIT_TOKEN": TOKEN} | words
        self.processes.append(subprocess.Popen([*prefix, *worker], env=environment))
        return self.processes[-1]

    def get(self, target: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{target}", timeout=10) as got:
                return got.status, json.load(got)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    outside = Outside()
    monkeypatch.setenv("LABKIT_TOKEN", TOKEN)
    monkeypatch.setenv("LABKIT_LISTEN", f"127.0.0.1:{outside.port}")
    yield outside
    for process in outside.processes:
        process.kill()
        process.wait()


def hang(worker: Any) -> None:

    worker.step(3)
    time.sleep(600)


def total(worker: Any) -> float:
    worker.step(1)
    return float(worker.group.all_reduce(worker.tensor(4, fill=worker.rank + 1.0))[0])


@needs_hosts
def test_they_are_seated_again_their_clocks_are_read_and_they_say_how_they_do(
    outside: Outside,
) -> None:
    def begin() -> None:
        """As soon as the driver listens."""
        wait_until(lambda: not refused(outside.port), "the driver does not listen")
        outside.start(0, LABKIT_HTTP=f"127.0.0.1:{outside.http}")
        outside.start(1, *OTHER_CLOCK)
        outside.start(2)  # the witness

    threading.Thread(target=begin).start()
    with Cluster(2, launcher="outside", backend="gloo", device="cpu") as cluster:
        assert outside.get("/health") == (200, {"alive": True})
        assert outside.get("/progress?most=0.1") == (200, {"training": False})

        run = cluster.run(total).wait(timeout=60)
        assert run.results == {0: 3.0, 1: 3.0}
        ahead = cluster._driver.seats[1].host_clock.ahead
        assert ahead is not None
        assert abs(ahead.seconds - AHEAD) <= ahead.error < 1
        clocks = [row["clock"] for row in cluster.status().rows]
        assert clocks == [None, str(ahead), None]
        steps = {e.rank: e.time for e in run.events if e.kind == "step"}
        assert abs(steps[1] - steps[0]) < 60, "rank 1 is drawn in another quarter of an hour"

        seat = cluster._driver.seats[1]
        for known, says in (({"host": "node7"}, "rank 1 is on node7, .* delete its pod"),
                            ({"pid": None}, "numbers of its own.*--pid=host")):  # fmt: skip
            before = {name: getattr(seat, name) for name in known}
            vars(seat).update(known)
            for strike in (cluster.kill, cluster.pause, cluster.restart):
                with pytest.raises(ValueError, match=says):
                    strike(1)
            vars(seat).update(before)

        run = cluster.run(hang)
        run.wait_step(3)
        wait_until(lambda: outside.get("/progress?most=0.5")[0] == 503, "it hangs, and says not so")
        assert outside.get("/progress?most=600")[1]["step"] == 3
        cluster.kill(1)
        wait_until(lambda: cluster._driver.seats[1].state == "dead", "rank 1 is not dead")
        run.cancel()  # rank 0 is in a call of its own, which a signal ends
        outside.start(1)
        wait_until(lambda: cluster._driver.seats[1].life == 1, "no next life of rank 1")
        assert cluster.run(total).wait(timeout=60).results == {0: 3.0, 1: 3.0}
    assert [process.wait(timeout=20) for process in outside.processes[::2]] == [0, 0]


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_listens_and_nobody_is_let_in_without_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LABKIT_TOKEN", raising=False)
    with pytest.raises(ValueError, match="LABKIT_TOKEN"):
        Cluster(1, launcher="outside")
    with pytest.raises(ValueError, match="no spares"):
        Cluster(1, launcher="outside", spares=1)
    monkeypatch.setenv("LABKIT_TOKEN", "12ab")
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        Cluster(1, launcher="outside")


@pytest.mark.parametrize(
    ("listens", "silence"), [("127.0.0.1:0", None), ("0.0.0.0:29400", AWAY_SILENCE)]
)
def test_on_other_machines_silence_is_a_death(
    monkeypatch: pytest.MonkeyPatch, listens: str, silence: float | None
) -> None:
    monkeypatch.setenv("LABKIT_TOKEN", TOKEN)
    monkeypatch.setenv("LABKIT_LISTEN", listens)
    assert launcher_for("outside")(cast(Loop, None)).silence == silence


@pytest.mark.parametrize(
    ("join", "token", "says"),
    [
        ("127.0.0.1", TOKEN, "'127.0.0.1' is no HOST:PORT, such as node1:45123"),
        ("127.0.0.1:1", TOKEN[2:], "LABKIT_TOKEN is not the driver's: that has 64 hexadecimal"),
        ("127.0.0.1:1", TOKEN, "the driver at 127.0.0.1:1 cannot be reached: "),
    ],
)
def test_a_worker_that_is_started_wrongly_says_why(join: str, token: str, says: str) -> None:
    command = [sys.executable, "-m", "labkit.worker", "--join", join, "--rank", "0"]
    settings = os.environ | {"LABKIT_TOKEN": token}
    said = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)
    assert said.returncode
    assert says in said.stderr
    assert "Traceback" not in said.stderr


def test_unless_it_is_told_to_nothing_listens_beyond_this_machine() -> None:
    def listens(worker: Any) -> list[str]:
        import psutil

        for algorithm in ("ring", "builtin"):  # the lab's links, and Gloo's own
            worker.group.all_reduce(worker.tensor(4, fill=1.0), algorithm=algorithm)
        found = psutil.Process().net_connections("inet")
        worker.group.barrier()
        return [c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN]

    with Cluster(2, backend="gloo", device="cpu") as cluster:
        results = cluster.run(listens).wait(timeout=60).results
        own = psutil.Process().net_connections("inet")
        driver = [c.laddr.ip for c in own if c.status == psutil.CONN_LISTEN]
        for addresses in (driver, *results.values()):
            assert set(addresses) == {"127.0.0.1"}


@needs_hosts
def test_of_two_cards_the_one_that_reaches_the_driver_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the lab's groups and by torch's own; the other leads nowhere, and comes first by name."""
    plain = network._set_up

    def with_another_card(host: network.Host) -> None:
        plain(host)
        with network._kernel() as kernel:
            kernel.link("add", ifname="another0", kind="veth", peer={"ifname": "another1"})
            card = network._index(kernel, "another0")
            kernel.addr("add", index=card, address=f"172.31.{host.number}.1", prefixlen=24)
            for index in (card, network._index(kernel, "another1")):
                kernel.link("set", index=index, state="up")

    def reduce(worker: Any) -> tuple[list[str], list[float]]:
        import os
        import socket

        from torch import distributed as dist

        cards = sorted(name for _, name in socket.if_nameindex())
        names = [os.environ[f"{library}_SOCKET_IFNAME"] for library in ("GLOO", "NCCL")]
        sums = [float(worker.group.all_reduce(worker.tensor(4, fill=1.0), algorithm=name)[0])
                for name in ("ring", "builtin")]  # fmt: skip
        worker.init_process_group()
        mine = worker.tensor(4, fill=1.0)
        dist.all_reduce(mine)
        return [*cards, *names], [*sums, float(mine[0])]

    monkeypatch.setattr(network, "_set_up", with_another_card)
    with Cluster(2, backend="gloo", device="cpu", hosts="namespaces") as cluster:
        results = cluster.run(reduce).wait(timeout=60).results
        found = (["another0", "another1", "eth0", "lo", "eth0", "eth0"], [2.0, 2.0, 2.0])
        assert results == {0: found, 1: found}
        addresses = [cluster._driver.seats[rank].address[0] for rank in range(2)]  # type: ignore[index]
        assert all(address.startswith(network.NETWORK) for address in addresses)


# -- in figures


def test_a_clock_is_told_from_the_driver_s_only_where_the_answer_proves_it() -> None:
    same, other = offset(10.0, 10.9, 11.0), offset(10.0, 11.6, 11.0)
    assert (round(same.seconds, 6), same.error, same.proven) == (0.4, 0.5, False)
    assert (round(other.seconds, 6), other.proven) == (1.1, True)
    assert str(other) == "+1.100000 s ± 500000 µs"


def test_progress_is_the_age_of_the_last_step() -> None:
    record = Record(2, "run 1", [], {}, False, "", 7, 12.3456)
    assert health.answer("/progress", record) == (200, {"training": True, "step": 7, "age": 12.346})
    assert health.answer("/progress?most=60", record)[0] == 200
    assert health.answer("/progress?most=12", record)[0] == 503
    assert health.answer("/progress?most=soon", record)[0] == 400
    assert health.answer("/progress?most=12", None) == (200, {"training": False})
    assert health.answer("/else", record)[0] == 404
    assert health.answer("/health?x=1", record)[0] == 200


@pytest.mark.parametrize("where", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", "192.0.2.7:80"])
def test_a_rank_that_cannot_serve_its_probes_says_so_and_goes_on(
    where: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABKIT_HTTP", where)
    loop = Loop("served", complain)
    loop.start()
    loop.call(lambda: health.serve(loop, lambda: None))
    loop.stop()
    assert capfd.readouterr().err.startswith(f"LABKIT_HTTP={where}: this rank serves no /health")
