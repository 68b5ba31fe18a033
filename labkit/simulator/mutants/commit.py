"""Mutants of two-phase commit: what implementations got wrong."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

MODULE = "labkit.protocols.two_phase_commit"

COMMIT = [
    Mutant(
        "p01",
        "a participant that hears nothing after its yes aborts",
        "every first attempt",
        MODULE,
        """            yield Broadcast((*self.coordinators, *self.fellows), Inquire(transaction))
            yield SetTimer("decision_due", self.patience, transaction)
""",
        """            yield from self.end(transaction, False)
""",
        killer="P-S4",
        scenario="COMMIT",
    ),
    Mutant(
        "p03",
        "the commit is told before it is on the disk",
        "horizontal-scaling-convex #101",
        MODULE,
        """        yield Persist(committed=self.committed)  # from here on it is decided
        yield Record("note", "decides to commit", transaction=transaction)
        yield from self.on_tell(transaction)
""",
        """        yield Record("note", "decides to commit", transaction=transaction)
        yield from self.on_tell(transaction)
        yield Persist(committed=self.committed)
""",
        killer="P-S5",
        scenario="COMMIT",
    ),
    Mutant(
        "p05",
        "where nothing is written down, commit is presumed",
        "the presumption, the wrong way round",
        MODULE,
        "yield Send(participant, Decision(m.transaction, m.transaction in self.committed))",
        "yield Send(participant, Decision(m.transaction, True))",
        killer="P-S1",
        scenario="COMMIT",
        seed=1,
    ),
    Mutant(
        "p07",
        "an abandoned prepare is never asked about",
        "horizontal-scaling-convex #158",
        MODULE,
        """        for transaction in self.prepared:
            yield from self.on_decision_due(transaction)
""",
        """        yield from ()
""",
        killer="P-L1",
        scenario="COMMIT",
    ),
    Mutant(
        "p09",
        "yes votes are counted, not voters: a duplicate is a second yes",
        "the same as m07, in another protocol",
        MODULE,
        """        self.votes[m.transaction].add(participant)
        if self.votes[m.transaction] == set(self.participants):
""",
        """        self.votes[m.transaction].add(-1 - len(self.votes[m.transaction]))
        if len(self.votes[m.transaction]) == len(self.participants):
""",
        killer="P-S2",
        scenario="COMMIT",
        seed=3,
    ),
    Mutant(
        "p11",
        "cooperative termination: a fellow answers abort although it knows of the commit",
        "2PCwithBTM without its guard",
        MODULE,
        "yield Send(fellow, Decision(m.transaction, self.ended[m.transaction]))",
        "yield Send(fellow, Decision(m.transaction, False))",
        killer="P-S1",
        scenario="COMMIT",
    ),
]
