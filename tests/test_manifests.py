"""The manifests for Kubernetes, as its own schemas have it; and as the lab has it. No cluster."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from labkit.faults import Preempt
from labkit.runtime import health
from labkit.worker import DRIVER_SECONDS

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = json.loads((ROOT / "tests/schemas/kubernetes-1.37.json").read_text())
LAB = {
    (m["kind"], m["metadata"]["name"]): m
    for m in yaml.safe_load_all((ROOT / "cluster/kubernetes/lab.yaml").read_text())
}


def problems(manifest: dict[str, Any]) -> list[str]:
    schema = {**SCHEMAS["kinds"][manifest["kind"]], "$defs": SCHEMAS["$defs"]}
    found = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]


@pytest.mark.parametrize("name", LAB, ids="-".join)
def test_every_manifest_is_what_kubernetes_takes(name: tuple[str, str]) -> None:
    assert problems(LAB[name]) == []


def test_the_schemas_refuse_what_kubernetes_refuses() -> None:
    workers = LAB["StatefulSet", "labkit-worker"]
    for wrong in ({"replicas": "five"}, {"podManagmentPolicy": "Parallel"}):
        broken = copy.deepcopy(workers)
        broken["spec"] |= wrong
        assert problems(broken), wrong
    broken = copy.deepcopy(workers)
    del broken["spec"]["template"]["spec"]["containers"][0]["name"]
    assert problems(broken)


# -- what no schema says, and Kubernetes refuses, or takes and then does nothing

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, a label
QUANTITY = re.compile(r"\d+(\.\d+)?([munkMGTPE]|[KMGTPE]i)?")
WORKLOADS = {"Job": ("Never", "OnFailure"), "StatefulSet": ("Always",)}  # and how pods restart
MODES = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}
POD_FIELDS = {"metadata.labels['apps.kubernetes.io/pod-index']", "metadata.name", "status.podIP"}


def misfits(manifests: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Sentences: what is missing, or leads nowhere."""
    manifests = list(manifests)
    pods = [m["spec"]["template"] for m in manifests if m["kind"] in WORKLOADS]
    services = [m for m in manifests if m["kind"] == "Service"]
    claims = {m["metadata"].get("name") for m in manifests if m["kind"] == "PersistentVolumeClaim"}
    for manifest in manifests:
        kind, name = manifest["kind"], str(manifest["metadata"].get("name"))
        what, spec = f"{kind} {name}", manifest["spec"]
        if "apiVersion" not in manifest:
            yield f"{what} has no apiVersion"
        if not NAME.fullmatch(name) or name == "None":
            yield f"{what} has no name that DNS takes"
        if not MODES.issuperset(spec.get("accessModes", [])):
            yield f"{what} has unknown access modes"
        if kind in WORKLOADS:
            yield from (f"{what}: {misfit}" for misfit in _of_pods(spec["template"], claims, pods))
            if spec["template"]["spec"].get("restartPolicy") not in WORKLOADS[kind]:
                yield f"{what}: its pods restart as only others do"
        if kind == "StatefulSet":
            yield from (f"{what}: {misfit}" for misfit in _of_set(spec, services))
        if kind == "PodDisruptionBudget" and not _chosen(spec["selector"]["matchLabels"], pods):
            yield f"{what} chooses no pod"
        if kind == "Service":
            chosen = _chosen(spec["selector"], pods)
            held = [port for pod in chosen for port in _ports(pod).items()]
            if not chosen or spec.get("clusterIP") != "None":
                yield f"{what} chooses no pod, or has an address of its own"
            for port in spec["ports"]:
                if (port["name"], port["port"]) not in held:
                    yield f"{what}: no pod has port {port['name']} {port['port']}"


def _chosen(labels: dict[str, str], pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]


def _ports(pod: dict[str, Any]) -> dict[str, int]:
    containers = pod["spec"]["containers"]
    return {p["name"]: p["containerPort"] for c in containers for p in c.get("ports", [])}


def _of_set(spec: dict[str, Any], services: list[dict[str, Any]]) -> Iterator[str]:
    if not _chosen(spec["selector"]["matchLabels"], [spec["template"]]):
        yield "its selector does not choose its own pods"
    own = [s["spec"] for s in services if s["metadata"].get("name") == spec["serviceName"]]
    if not own or not _chosen(own[0]["selector"], [spec["template"]]):
        yield f"there is no service {spec['serviceName']} of its pods"
    if spec.get("podManagementPolicy", "OrderedReady") not in ("OrderedReady", "Parallel"):
        yield "its pods are managed as nobody can"


def _of_pods(pod: dict[str, Any], claims: set[str], pods: list[dict[str, Any]]) -> Iterator[str]:
    volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
    asked = {v["persistentVolumeClaim"]["claimName"] for v in pod["spec"].get("volumes", [])}
    if missing := asked - claims:
        yield f"nobody claims {missing}"
    near = pod["spec"].get("affinity", {}).get("podAntiAffinity", {})
    for term in near.get("preferredDuringSchedulingIgnoredDuringExecution", []):
        if not _chosen(term["podAffinityTerm"]["labelSelector"]["matchLabels"], pods):
            yield "it keeps away from nobody"
    for container in pod["spec"]["containers"]:
        if missing := {mount["name"] for mount in container["volumeMounts"]} - volumes:
            yield f"there are no volumes {missing}"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in container and container[probe]["httpGet"]["port"] not in _ports(pod):
                yield f"its {probe} asks at a port that it has not"
        for quantity in container["resources"]["requests"].values():
            if not QUANTITY.fullmatch(quantity):
                yield f"{quantity} is no quantity"
        for variable in container["env"]:
            reference = variable.get("valueFrom", {}).get("fieldRef", {"fieldPath": "status.podIP"})
            if reference["fieldPath"] not in POD_FIELDS:
                yield f"a pod has no {reference['fieldPath']}"


def test_the_manifests_fit_each_other() -> None:
    assert list(misfits(LAB.values())) == []


WORKER = ("StatefulSet", "labkit-worker", "spec", "template")
POD = (*WORKER, "spec")
CONTAINER = (*POD, "containers", 0)
GONE = object()
MISTAKES: dict[tuple[Any, ...], object] = {
    ("StatefulSet", "labkit-worker", "apiVersion"): GONE,
    ("StatefulSet", "labkit-worker", "metadata", "name"): GONE,
    ("Service", "labkit-worker", "metadata", "name"): "Labkit_Worker",
    ("StatefulSet", "labkit-worker", "spec", "selector", "matchLabels", "app"): "another",
    (*WORKER, "metadata", "labels", "app"): "another",
    ("PodDisruptionBudget", "labkit-worker", "spec", "selector", "matchLabels", "app"): "another",
    ("Service", "labkit-worker", "spec", "selector", "app"): "another",
    ("StatefulSet", "labkit-worker", "spec", "serviceName"): "labkit-workers",
    ("StatefulSet", "labkit-worker", "spec", "podManagementPolicy"): "Paralel",
    ("Service", "labkit-driver", "spec", "clusterIP"): GONE,
    ("Service", "labkit-worker", "spec", "ports", 0, "port"): 8081,
    ("Job", "labkit-driver", "spec", "template", "spec", "restartPolicy"): "Always",
    ("PersistentVolumeClaim", "labkit-runs", "spec", "accessModes"): ["ReadWriteManny"],
    (*POD, "restartPolicy"): "Never",
    (*POD, "volumes", 0, "name"): "run",
    (*POD, "volumes", 0, "persistentVolumeClaim", "claimName"): "labkit-run",
    (*CONTAINER, "livenessProbe", "httpGet", "port"): "htp",
    (*CONTAINER, "resources", "requests", "memory"): "2 GB",
    (*CONTAINER, "env", 0, "valueFrom", "fieldRef", "fieldPath"): "metadata.labels['index']",
}  # fmt: skip


@pytest.mark.parametrize("place", MISTAKES, ids=lambda place: ".".join(map(str, place)))
def test_a_mistake_that_no_schema_knows_is_found(place: tuple[Any, ...]) -> None:
    manifests = copy.deepcopy(LAB)
    at: Any = manifests[place[:2]]
    for word in place[2:-1]:
        at = at[word]
    if MISTAKES[place] is GONE:
        del at[place[-1]]
    else:
        at[place[-1]] = MISTAKES[place]
    assert list(misfits(manifests.values()))


# -- what the lab asks of them


def container(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = LAB[kind, name]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_driver_and_workers_fit_each_other() -> None:
    driver, worker = container("Job", "labkit-driver"), container("StatefulSet", "labkit-worker")
    settings = {v["name"]: v.get("value", v.get("valueFrom")) for v in worker["env"]}
    listens = {v["name"]: v.get("value") for v in driver["env"]}["LABKIT_LISTEN"]
    service = LAB["Service", "labkit-driver"]["spec"]
    assert worker["command"][-1] == f"labkit-driver:{service['ports'][0]['port']}"
    assert listens.endswith(f":{service['ports'][0]['port']}")
    assert service["selector"].items() <= labels("Job", "labkit-driver").items()
    assert service["publishNotReadyAddresses"]

    workers = LAB["StatefulSet", "labkit-worker"]["spec"]
    size = next(int(v["value"]) for v in driver["env"] if v["name"] == "WORLD_SIZE")
    assert workers["replicas"] == size + 1, "the witness is one of them"
    budget = LAB["PodDisruptionBudget", "labkit-worker"]["spec"]["maxUnavailable"]
    assert workers["replicas"] - budget > workers["replicas"] / 2
    assert settings["LABKIT_LIFE"] == "-1"
    assert settings["LABKIT_TOKEN"] == {"secretKeyRef": {"name": "labkit", "key": "token"}}
    mounted = {mount["name"]: mount["mountPath"] for mount in worker["volumeMounts"]}
    assert mounted == {mount["name"]: mount["mountPath"] for mount in driver["volumeMounts"]}


def labels(kind: str, name: str) -> dict[str, str]:
    found: dict[str, str] = LAB[kind, name]["spec"]["template"]["metadata"]["labels"]
    return found


def test_what_kubernetes_asks_the_workers_answer() -> None:
    worker = container("StatefulSet", "labkit-worker")
    for probe in ("startupProbe", "livenessProbe"):
        assert health.answer(worker[probe]["httpGet"]["path"], None)[0] == 200
    ports = {port["name"]: port["containerPort"] for port in worker["ports"]}
    http = next(v["value"] for v in worker["env"] if v["name"] == "LABKIT_HTTP")
    assert http.endswith(f":{ports['http']}")
    assert re.fullmatch(r"/progress\?most=\d+", worker["livenessProbe"]["httpGet"]["path"])


def test_kubernetes_is_patient_enough() -> None:
    """With a pod that imports torch and waits for its driver, and with one that is to leave: it is
    told so at once, and has the time that a preemption of the lab gives."""
    worker = container("StatefulSet", "labkit-worker")
    startup = worker["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > DRIVER_SECONDS
    pod = LAB["StatefulSet", "labkit-worker"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= Preempt(0).grace
    assert "kill -TERM 1" in worker["lifecycle"]["preStop"]["exec"]["command"][-1]
