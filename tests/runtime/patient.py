"""Training that does not end before the dead are back, however fast the machine."""

from __future__ import annotations

import time
from typing import Any

from labkit.training.loop import train

ALONE = 10
"""Steps that the survivors do without the others."""


def patiently(worker: Any, size: int = 4, **job: Any) -> Any:
    """`train`, but in a group of less than `size` ranks step ALONE is the last until there is
    another view."""
    step, alone = worker.step, 0

    def reached(number: int) -> None:
        nonlocal alone
        step(number)
        alone = alone + 1 if len(worker.group.members) < size else 0
        while alone >= ALONE and not worker.must_regroup:
            time.sleep(0.005)

    worker.step = reached
    return train(worker, **job)
