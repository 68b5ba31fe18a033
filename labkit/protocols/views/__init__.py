"""Who is in the cluster: a sequence of views on which a majority has agreed (K. Birman and
T. Joseph, SOSP 1987), kept in Raft's log.

`agreement` is how the next view comes about, `voters` who has a vote on it; `messages` has what
goes into the log, and what hosts and nodes tell one another.
"""

from labkit.protocols.views.messages import Connected, Expect, NextView
from labkit.protocols.views.voters import Voters as Views

__all__ = ["Connected", "Expect", "NextView", "Views"]
