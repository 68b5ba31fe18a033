"""Ranks of torchrun: an elastic agent for each, which replaces it when it dies."""

from __future__ import annotations

from typing import Any

import psutil
from outside import workers

from labkit import Cluster
from labkit.training.loop import train

JOB = {"model": "cnn", "steps": 40, "algorithm": "in_order"}


def restarts(worker: Any) -> tuple[str, int]:
    import os

    worker.group.barrier()
    return os.environ["TORCHELASTIC_RESTART_COUNT"], os.getppid()


def test_the_agent_of_a_dead_rank_starts_it_anew_and_the_others_stay() -> None:
    with Cluster(1, record=False) as one:
        undisturbed = one.run(train, **JOB).wait().results[0]
    with Cluster(2, "gloo", "cpu", "torchrun", max_restarts=2) as cluster:
        before = cluster.run(restarts).wait(timeout=60).results
        assert [count for count, _ in before.values()] == ["0", "0"]
        assert before[0][1] != before[1][1], "one agent for both would restart both"

        run = cluster.run(train, elastic=True, minimum=2, **JOB)
        run.wait_step(10)
        sockets = [c for process in workers() for c in process.net_connections("tcp")]
        assert {c.laddr.ip for c in sockets if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        cluster.kill(1)
        run.wait(timeout=60)
        assert {result["hash"] for result in run.results.values()} == {undisturbed["hash"]}
        assert sorted(run.results) == [0, 1]
        assert run.deaths[1].signal == "SIGKILL"
        assert not [e for e in run.events if e.name.startswith("the launcher starts")]

        after = cluster.run(restarts).wait(timeout=60).results
        assert after == {0: before[0], 1: ("1", before[1][1])}
