"""How often to write a checkpoint: too often costs writes, too seldom costs lost work.

J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974.
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
Generation Computer Systems 22(3), 2006.

`write` is the time that a checkpoint stops the training (C in Young, delta in Daly), `mtbf` the
mean time between failures of the whole job (M), `interval` the useful work between two checkpoints
(tau), `restart` the time from a failure to the next useful step (R). All in one unit, any unit.
"""

from __future__ import annotations

import numpy as np

from labkit.reliability.mtbf import Values


def young_interval(write: Values, mtbf: Values) -> Values:
    """sqrt(2 C M): the interval between the starts of two checkpoints. Young 1974."""
    return np.sqrt(2 * np.asarray(write) * mtbf)


def daly_interval(write: Values, mtbf: Values) -> Values:
    """sqrt(2 C M) - C: the useful work between two checkpoints, to first order. Daly 2006."""
    return young_interval(write, mtbf) - write


def daly_interval_higher_order(write: Values, mtbf: Values) -> Values:
    """Daly's higher-order estimate; mtbf itself when a write takes longer than 2 mtbf.

    sqrt(2 C M) (1 + sqrt(C / 2M) / 3 + (C / 2M) / 9) - C. Daly 2006.
    """
    ratio = np.asarray(write) / (2 * np.asarray(mtbf))
    estimate = young_interval(write, mtbf) * (1 + np.sqrt(ratio) / 3 + ratio / 9) - write
    return np.where(ratio < 1, estimate, mtbf)[()]


def waste(interval: Values, write: Values, mtbf: Values) -> Values:
    """The fraction of time lost to writes and to work done again, to first order: C/t + t/2M.

    Its minimum over t is sqrt(2 C / M), at Young's interval.
    """
    return write / interval + interval / (2 * np.asarray(mtbf))


def least_waste(write: Values, mtbf: Values) -> Values:
    """sqrt(2 C / M): what even the best interval costs, to first order."""
    return np.sqrt(2 * np.asarray(write) / mtbf)


def goodput(interval: Values, write: Values, mtbf: Values, restart: Values) -> Values:
    """Useful work over wall-clock time, exact for failures without memory.

    Daly 2006 gives the wall-clock time of a long job as
    M exp(R/M) (exp((t + C)/M) - 1) / t times its work; failures may also strike writes and
    restarts. This is what the simulator in `goodput.py` has to agree with.
    """
    mtbf = np.asarray(mtbf)
    slowdown = mtbf * np.exp(restart / mtbf) * np.expm1((interval + write) / mtbf) / interval
    return 1 / slowdown


def expected_time_without_checkpoints(work: Values, mtbf: Values) -> Values:
    """How long a job takes that starts again from nothing at each failure: M (exp(T/M) - 1).

    Daly's formula with one segment, no write and no restart time.
    """
    return mtbf * np.expm1(work / np.asarray(mtbf))
