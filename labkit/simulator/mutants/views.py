"""Mutants of the views, and of what a training does in the next one."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

AGREEMENT = "labkit.protocols.views.agreement"
VIEW = "labkit.view"

VIEWS = [
    Mutant(
        "v01",
        "an announcement that was overtaken brings back an older view",
        "the lab's own",
        AGREEMENT,
        "if view.number > self.view.number and self.life in view.members:",
        "if view != self.view and self.life in view.members:",
        killer="M-S1",
        scenario="VIEWS",
    ),
    Mutant(
        "v02",
        "the next view is made of the last one that is committed, while another is under way",
        "the lab's own",
        AGREEMENT,
        """            if isinstance(entry.command, NextView):
                return entry.command
""",
        "            pass\n",
        killer="M-S2",
        scenario="VIEWS",
        seed=2,
    ),
    Mutant(
        "v03",
        "who comes back takes the view of its earlier life for its own",
        "the lab's own",
        AGREEMENT,
        "if view.number > self.view.number and self.life in view.members:",
        "if view.number > self.view.number:",
        killer="M-S2",
        scenario="VIEWS",
    ),
    Mutant(
        "v04",
        "in a new view the first member's state goes to all, also when it has just come",
        "DistributedDataParallel, which sends rank 0's to all when it is made",
        VIEW,
        """    source = min(member for member, step in steps.items() if step == furthest)
    return source, sorted(m for m in steps if steps[m] < furthest), furthest + 1
""",
        """    source = min(steps)
    return source, sorted(m for m in steps if m != source), steps[source] + 1
""",
        killer="M-S3",
        scenario="STEPS",
    ),
    Mutant(
        "v05",
        "all go back to the last step that each of them has, also those who have just come",
        "the lab's own",
        VIEW,
        """    furthest = max(steps.values())
    source = min(member for member, step in steps.items() if step == furthest)
    return source, sorted(m for m in steps if steps[m] < furthest), furthest + 1
""",
        """    furthest = min(steps.values())
    source = min(member for member, step in steps.items() if step == furthest)
    return source, sorted(m for m in steps if steps[m] > furthest), furthest + 1
""",
        killer="M-S3",
        scenario="STEPS",
    ),
]
