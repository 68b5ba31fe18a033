"""The manifests for Kubernetes, as its own schemas have it; and as the lab has it. No cluster."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from labkit.runtime import health

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


def container(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = LAB[kind, name]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_schemas_refuse_what_kubernetes_refuses() -> None:
    workers = LAB["StatefulSet", "labkit-worker"]
    for wrong in ({"replicas": "five"}, {"podManagmentPolicy": "Parallel"}):
        broken = copy.deepcopy(workers)
        broken["spec"] |= wrong
        assert problems(broken), wrong
    broken = copy.deepcopy(workers)
    del broken["spec"]["template"]["spec"]["containers"][0]["name"]
    assert problems(broken)


def test_driver_and_workers_fit_each_other() -> None:
    driver, worker = container("Job", "labkit-driver"), container("StatefulSet", "labkit-worker")
    settings = {v["name"]: v.get("value", v.get("valueFrom")) for v in worker["env"]}
    listens = {v["name"]: v.get("value") for v in driver["env"]}["LABKIT_LISTEN"]
    service = LAB["Service", "labkit-driver"]["spec"]
    assert worker["command"][-1] == f"labkit-driver:{service['ports'][0]['port']}"
    assert listens.endswith(f":{service['ports'][0]['port']}")
    assert service["selector"].items() <= labels("Job", "labkit-driver").items()

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
