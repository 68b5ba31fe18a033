"""Break real training clusters and repair them: see README.md."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.faults import (
        At,
        Bandwidth,
        CorruptWeights,
        Cut,
        Delay,
        Drop,
        FaultPlan,
        Heal,
        HoldGIL,
        Kill,
        LinkDown,
        LinkUp,
        Partition,
        Pause,
        PoisonGradient,
        Preempt,
        Restart,
        Resume,
        Slow,
    )
    from labkit.runtime.cluster import Cluster
    from labkit.runtime.run import Run, RunError
    from labkit.view import CollectiveTimeout, PeerLost, View

__version__ = "0.1.0"

if sys.platform not in ("linux", "darwin"):
    raise ImportError(
        f"labkit runs on Linux and macOS, not on {sys.platform}: on Windows use WSL2, or open the "
        "repository in its .devcontainer"
    )

# Loaded at first use: `from labkit import Cluster` takes milliseconds and imports no torch.
_HOMES = {
    "labkit.faults": (
        "At Bandwidth CorruptWeights Cut Delay Drop FaultPlan Heal HoldGIL Kill LinkDown LinkUp "
        "Partition Pause PoisonGradient Preempt Restart Resume Slow"
    ),
    "labkit.runtime.cluster": "Cluster",
    "labkit.runtime.run": "Run RunError",
    "labkit.collectives.group": "Group",
    "labkit.view": "CollectiveTimeout PeerLost View",
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = [
    "At",
    "Bandwidth",
    "Cluster",
    "CollectiveTimeout",
    "CorruptWeights",
    "Cut",
    "Delay",
    "Drop",
    "FaultPlan",
    "Group",
    "Heal",
    "HoldGIL",
    "Kill",
    "LinkDown",
    "LinkUp",
    "Partition",
    "Pause",
    "PeerLost",
    "PoisonGradient",
    "Preempt",
    "Restart",
    "Resume",
    "Run",
    "RunError",
    "Slow",
    "View",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
