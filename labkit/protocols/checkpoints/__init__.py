"""Which checkpoints there are: two-phase commit among the ranks of a view, whose coordinator is the
leader of the views and whose decisions stand in their log.

One log for both, and not a second group beside it. The voters of the views follow the deaths, so a
decision can be made as long as a view can; whoever decides knows who is in the view, and a death
and a decision stand in one order, the same for all; and a rank has one election, one journal and
one leader to wait for after a death.

`coordinator` is the leader's side, `saver` a rank's; `messages` has what they say.
"""

from labkit.protocols.checkpoints.coordinator import ViewsAndCheckpoints
from labkit.protocols.checkpoints.messages import SAVERS, Ask, Finished, Over, Want, Wish
from labkit.protocols.checkpoints.saver import Saver

__all__ = ["SAVERS", "Ask", "Finished", "Over", "Saver", "ViewsAndCheckpoints", "Want", "Wish"]
