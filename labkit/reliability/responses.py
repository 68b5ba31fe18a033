"""Four answers to a failure, for jobs of 8 to 100 000 GPUs: settings for `life.play`.

Minutes. The failure rate is that of Llama 3; the times are round numbers, of the order that
`published.py`'s sources give for such systems, the same at every size so that size alone differs.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.reliability import mtbf, young_daly
from labkit.reliability.fleet import Failures, Fleet, poisson
from labkit.reliability.published import RATES, nodes

RATE = RATES["Llama 3 (H100, 16 k GPUs)"]
GROUP = 512
"""GPUs that hold one copy of the state."""
DAY = 24 * 60.0


def failures(gpus: int) -> Failures:
    return poisson(_mtbf(gpus))


def wait_for_repair(gpus: int) -> Fleet:
    """No spare: the job waits 2 h for its machine, restarts, and reads the last checkpoint."""
    return Fleet(
        interval=_best(1.0, gpus), write=1.0, detection=10.0, restart=5.0, hot=0, repair=120.0
    )


def cold_spares(gpus: int) -> Fleet:
    """A time-out of 10 min notices, a spare boots for 5 min, all restart; writes stop training."""
    return Fleet(
        interval=_best(1.0, gpus),
        write=1.0,
        detection=10.0,
        restart=5.0,
        hot=0,
        cold=_spares(gpus),
        boot=5.0,
        repair=DAY,
    )


def hot_spares(gpus: int) -> Fleet:
    """Heartbeats notice within 10 s, a warm spare stands by, snapshots are written later."""
    return Fleet(
        interval=_best(1 / 6, gpus),
        write=1 / 6,
        flush=1.0,
        detection=1 / 6,
        restart=3.0,
        hot=_spares(gpus),
        repair=DAY,
    )


def survivors_go_on(gpus: int) -> Fleet:
    """The same, but one group of many is lost: the others stand still for 20 s and go on."""
    return Fleet(
        groups=max(1, round(gpus / GROUP)),
        interval=_best(1 / 6, gpus),
        write=1 / 6,
        flush=1.0,
        detection=1 / 6,
        regroup=1 / 6,
        restart=3.0,
        join=1 / 6,
        hot=_spares(gpus),
        repair=DAY,
    )


RESPONSES: dict[str, Callable[[int], Fleet]] = {
    "all wait for a repair": wait_for_repair,
    "all restart, cold spare": cold_spares,
    "all restart, hot spare": hot_spares,
    "the survivors go on": survivors_go_on,
}


def _mtbf(gpus: int) -> float:
    return 60 * float(mtbf.job_mtbf_hours(nodes(gpus), RATE))


def _best(write: float, gpus: int) -> float:
    """Daly's interval, which does not fall below the time that a background write takes."""
    return max(float(young_daly.daly_interval_higher_order(write, _mtbf(gpus))), 1.5)


def _spares(gpus: int) -> int:
    """3 % of the machines, and one at least."""
    return max(1, round(0.03 * nodes(gpus)))
