"""The agreement on views with its hosts, its invariants, and what it must do once all is well."""

from __future__ import annotations

from functools import partial

from labkit.protocols.views import Views
from labkit.simulator.invariants.views import INVARIANTS, Hosts, Settles
from labkit.simulator.scenario import Scenario
from labkit.simulator.schedule import KEPT_DISKS, swarm
from labkit.simulator.simulation import Simulation


def views_progress(sim: Simulation) -> None:
    """Once all is well all ranks are in one view (M-L1)."""
    Settles.judge(sim, within=10.0)


# Who has lost its disk while voters are taken away can leave too few to go on, which is no bug.
VIEWS = Scenario(
    "VIEWS",
    Views,
    (Hosts, *INVARIANTS),
    progress=views_progress,
    draw=partial(swarm, kinds=KEPT_DISKS),
)
