"""Mutants of the simulator itself: a harness that is blind finds nothing and says that all is well.

`killer` is what must notice: the self-check of determinism (H-1), a test of the simulator, or a
mutant of Raft that lives where it must die.
"""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

ENGINE = "labkit.simulator.engine"
LOG = "labkit.protocols.raft.log"
NETWORK = "labkit.simulator.network"
SCENARIO = "labkit.simulator.scenario"
STORAGE = "labkit.simulator.storage"

HARNESS = [
    Mutant(
        "h01",
        "the order of a set of strings decides who is told first",
        "the facts page",
        LOG,
        """            for follower in self.others:
                yield Send(follower, self.append_entries(follower))
""",
        """            for follower in {str(i) for i in self.others}:
                yield Send(int(follower), self.append_entries(int(follower)))
""",
        killer="H-1",
        scenario="RAFT",
        seed=5,
    ),
    Mutant(
        "h02",
        "a message is one object for all who get it",
        "the facts page",
        ENGINE,
        "if self.wire:",
        "if False:",
        killer="test_with_the_wire_no_two_nodes_share_a_message",
        scenario="",
    ),
    Mutant(
        "h03",
        "a crash loses what was synced",
        "the facts page",
        STORAGE,
        """        if self._synced is not None:
            self.stored, self._synced = self._synced, None
""",
        "        self.stored = {}\n",
        killer="test_a_dead_node_does_nothing_and_comes_back_with_its_disk",
        scenario="",
    ),
    Mutant(
        "h04",
        "no message is ever later than an election time-out",
        "the facts page",
        NETWORK,
        "        return seconds * slowness + link.delay\n",
        "        return min(seconds * slowness + link.delay, 0.1)\n",
        killer="m21",
        scenario="",
    ),
    Mutant(
        "h05",
        "the invariants look at the nodes, and not at what they say",
        "the facts page",
        ENGINE,
        "                check(self, i, to, message)\n",
        "                pass\n",
        killer="m05",
        scenario="",
    ),
    Mutant(
        "h06",
        "nobody asks whether anything still happens once all is well",
        "the facts page",
        SCENARIO,
        "    scenario.progress(sim)\n",
        "",
        killer="m11",
        scenario="",
    ),
]
