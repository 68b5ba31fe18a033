"""The containers of cluster/kubernetes/lab.yaml as processes, which a small kubelet starts, asks
and starts anew as the manifest says. No Kubernetes: it cannot show what the cluster itself does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from outside import wait_until

from labkit import events, worker
from labkit.faults import Preempt

ROOT = Path(__file__).resolve().parents[2]
LAB = {
    (m["kind"], m["metadata"]["name"]): m["spec"]
    for m in yaml.safe_load_all((ROOT / "cluster/kubernetes/lab.yaml").read_text())
}
TOKEN = "a7" * 32


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Kubelet:
    """Of a StatefulSet and a Job. Pods share this machine's network, so each has its own port."""

    def __init__(self, folder: Path, *around: str) -> None:
        """`around`: what runs each container."""
        self.around = around
        self.folder, self.join = folder, free_port()
        self.workers = LAB["StatefulSet", "labkit-worker"]
        self.http = [free_port() for _ in range(self.workers["replicas"])]
        self.pods: dict[int, subprocess.Popen[bytes]] = {}
        self.starts: Counter[int] = Counter()
        self.drivers: list[subprocess.Popen[bytes]] = []
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def here(self, text: str, pod: int = 0) -> str:
        """What the manifest says, on this machine."""
        places = {
            ".venv/bin/python": sys.executable,
            "/runs": str(self.folder),
            "labkit-driver:29400": f"127.0.0.1:{self.join}",
            "0.0.0.0:29400": f"127.0.0.1:{self.join}",
            "0.0.0.0:8080": f"127.0.0.1:{self.http[pod]}",
        }
        return places.get(text, text)

    def start(
        self, container: dict[str, Any], pod: int = 0, **more: str
    ) -> subprocess.Popen[bytes]:
        refers = {"secretKeyRef": TOKEN, "fieldRef": str(pod)}  # its index: nothing else is asked
        known = {
            v["name"]: self.here(v["value"], pod)
            if "value" in v
            else next(refers[kind] for kind in v["valueFrom"])
            for v in container["env"]
        }
        return subprocess.Popen(
            [*self.around, *(self.here(word, pod) for word in container["command"])],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | known | more,
            cwd=ROOT,  # of which the image has a copy in workingDir
        )

    def driver(self, **settings: str) -> subprocess.Popen[bytes]:
        job = LAB["Job", "labkit-driver"]["template"]["spec"]
        self.drivers.append(self.start(job["containers"][0], **settings))
        return self.drivers[-1]

    def keep_workers(self) -> None:
        assert self.workers["template"]["spec"]["restartPolicy"] == "Always"
        self._keeper.start()

    def _keep(self) -> None:
        (container,) = self.workers["template"]["spec"]["containers"]
        while not self._ended.wait(0.05):
            for pod in range(self.workers["replicas"]):
                if pod not in self.pods or self.pods[pod].poll() is not None:
                    self.pods[pod] = self.start(container, pod)
                    self.starts[pod] += 1

    def asks(self, pod: int, probe: str) -> dict[str, Any]:
        """The answer to a probe of the manifest; nothing where there is none."""
        (container,) = self.workers["template"]["spec"]["containers"]
        target = container[probe]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http[pod]}{target}") as answer:
                return dict(json.load(answer))
        except urllib.error.URLError:
            return {}

    def tell_to_stop(self, pod: int) -> float:
        """What comes before SIGTERM, to its end or the container's; the seconds that it takes."""
        (container,) = self.workers["template"]["spec"]["containers"]
        (first,) = psutil.Process(self.pods[pod].pid).children()
        inside = ["nsenter", f"--target={first.pid}", "--pid", "--mount"]
        grace = self.workers["template"]["spec"]["terminationGracePeriodSeconds"]
        begin = time.monotonic()
        command = container["lifecycle"]["preStop"]["exec"]["command"]
        subprocess.run([*inside, *command], timeout=grace, stderr=subprocess.DEVNULL)
        return time.monotonic() - begin

    def step(self, pod: int) -> int:
        return self.asks(pod, "livenessProbe").get("step") or 0

    def steps(self, kind: str = "step") -> list[list[int]]:
        """That ranks have told of, for each driver in turn."""
        runs = sorted(self.folder.glob("*/events"))
        told = [{e.data["step"] for e in events.read(run) if e.kind == kind} for run in runs]
        return [sorted(steps) for steps in told]

    def close(self) -> None:
        self._ended.set()
        self._keeper.join()
        for process in (*self.pods.values(), *self.drivers):
            process.kill()
            process.wait()


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    kubelet = Kubelet(tmp_path)
    yield kubelet
    kubelet.close()


def test_a_lost_worker_comes_back_and_a_lost_driver_goes_on_from_its_checkpoint(
    kubelet: Kubelet,
) -> None:
    kubelet.keep_workers()  # before there is a driver, for which they wait
    job = {"STEPS": "400", "MINIMUM": "4"}
    driver = kubelet.driver(**job)
    wait_until(lambda: kubelet.step(0) >= 10, "no training", 60)
    assert kubelet.asks(4, "startupProbe") == {"alive": True}, "the witness"

    before = kubelet.pods[2]
    before.kill()
    wait_until(lambda: kubelet.pods[2] is not before, "it is not started anew")
    reached = kubelet.step(0)
    wait_until(
        lambda: kubelet.step(2) > max(60, reached),
        "rank 2 does not come back into the training, which needs it",
        60,
    )
    assert kubelet.starts == {pod: 1 + (pod == 2) for pod in range(5)}

    driver.kill()
    driver.wait()
    assert LAB["Job", "labkit-driver"]["backoffLimit"] > 0
    driver = kubelet.driver(**job)
    assert driver.wait(120) == 0
    first, second = kubelet.steps()
    assert first[-1] < 400
    assert second[0] in range(51, first[-1] + 2, 50), "not from a checkpoint of every fiftieth step"
    assert second[-1] == 400


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nsenter") is None,
    reason="needs root, unshare and nsenter: containers have process numbers of their own",
)
def test_a_pod_that_is_drained_completes_its_step_and_leaves_within_its_grace(
    tmp_path: Path,
) -> None:
    """All write a checkpoint for it, and its next life goes on."""
    kubelet = Kubelet(tmp_path, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    try:
        kubelet.keep_workers()
        driver = kubelet.driver(STEPS="400", MINIMUM="4")
        wait_until(lambda: kubelet.step(0) >= 10, "no training", 60)
        before = kubelet.pods[2]
        took = kubelet.tell_to_stop(2)
        assert before.wait(5) == 0, "it did not leave by itself"
        assert took < Preempt(2).grace
        assert driver.wait(120) == 0
        (steps,), (saved,) = kubelet.steps(), kubelet.steps("checkpoint")
        assert any(step % 50 for step in saved), f"none but those of every fiftieth step: {saved}"
        assert steps[-1] == 400
        assert kubelet.starts[2] >= 2
    finally:
        kubelet.close()


def test_a_worker_that_comes_before_its_driver_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, drivers = free_port(), []

    def come(seconds: float) -> None:
        """The driver does, while the worker sleeps."""
        drivers.append(socket.create_server(("127.0.0.1", port)))

    monkeypatch.setattr(worker.time, "sleep", come)
    worker._wait_for("127.0.0.1", port)
    (driver,) = drivers
    driver.close()

    monkeypatch.setattr(worker, "DRIVER_SECONDS", 0.0)
    with pytest.raises(SystemExit, match=f"there is no driver at 127.0.0.1:{port}: .*refused"):
        worker._wait_for("127.0.0.1", port)
