"""What lost work costs, and when a machine that may be taken away is worth its discount."""

from __future__ import annotations

from labkit.reliability.mtbf import Values


def run_dollars(gpus: Values, hours: Values, dollars_per_gpu_hour: Values) -> Values:
    """The price of holding `gpus` for `hours`, useful or not."""
    return gpus * hours * dollars_per_gpu_hour


def dollars_per_useful_hour(dollars_per_gpu_hour: Values, goodput: Values) -> Values:
    """What one GPU-hour of progress costs, when only a fraction `goodput` of time is progress."""
    return dollars_per_gpu_hour / goodput


def break_even_goodput(
    spot_dollars: Values, steady_dollars: Values, steady_goodput: Values = 1.0
) -> Values:
    """The goodput above which the spot machine is cheaper per unit of progress.

    Prices are dollars per GPU-hour. spot/g_spot < steady/g_steady  <=>  g_spot > spot/steady
    g_steady.
    """
    return spot_dollars / steady_dollars * steady_goodput


def failure_dollars(
    gpus: Values, dollars_per_gpu_hour: Values, interval_hours: Values, restart_hours: Values
) -> Values:
    """What one failure costs on average: half an interval done again, and the restart, by all.

    Failures per hour grow with `gpus` too, so the bill of a run grows with their square (V. Singh
    and D. Herrington, "Introducing ML Productivity Goodput", Google Cloud blog, 2024).
    """
    return gpus * dollars_per_gpu_hour * (interval_hours / 2 + restart_hours)
