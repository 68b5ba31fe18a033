"""The host's thread goes before ordinary work, so that a busy machine does not make it look dead.

Where there are more threads than cores each waits for its turn, and beside other jobs that turn may
be a tenth of a second away: a rank that is well misses three beats of 50 ms. So corosync, which
keeps the membership of clusters, asks for round-robin real-time scheduling (corosync.conf(5),
`sched_rr`), and so do the hosts here. Two cores at load 11, four ranks training beside other work:
the latest timer of a host was 38 to 51 ms late in four runs, and 73 to 329 ms without.
"""

from __future__ import annotations

import contextlib
import os
import sys


def go_first() -> bool:
    """The calling thread runs before all that are not urgent. False where the system does not let
    it: that takes root, CAP_SYS_NICE, or a limit on RTPRIO above 0."""
    if sys.platform != "linux" or os.environ.get("LABKIT_PORTABLE") == "1":
        return False
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK  # what this thread starts is not urgent
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
        return True
    return False
