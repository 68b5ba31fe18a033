"""Mutants of two-phase commit: what implementations got wrong (`COMMIT`), and one more for each
promise that those leave untouched (`MORE_COMMIT`)."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

COORDINATOR = "labkit.protocols.two_phase_commit.coordinator"
PARTICIPANT = "labkit.protocols.two_phase_commit.participant"
IN_DOUBT = "labkit.protocols.two_phase_commit.in_doubt"
REPLICATED = "labkit.protocols.two_phase_commit.replicated"
SAVER = "labkit.protocols.checkpoints.saver"
RANK = "labkit.simulator.checkpoints"
FOLDER = "labkit.simulator.checkpoint_folder"

COMMIT = [
    Mutant(
        "p01",
        "a participant that hears nothing after its yes aborts",
        "every first attempt",
        IN_DOUBT,
        """        yield Broadcast((*self.coordinators, *fellows), Inquire(transaction))
        yield SetTimer("decision_due", self.patience, transaction)
""",
        """        yield from self.end(transaction, False)
""",
        killer="P-S4",
        scenario="COMMIT",
    ),
    Mutant(
        "p03",
        "the commit is told before it is on the disk",
        "horizontal-scaling-convex #101",
        COORDINATOR,
        """        yield Persist(committed=tuple(self.committed.items()))  # now it is decided
        yield from self.decided(transaction)
""",
        """        yield from self.decided(transaction)
        yield Persist(committed=tuple(self.committed.items()))
""",
        killer="P-S5",
        scenario="COMMIT",
    ),
    Mutant(
        "p05",
        "where nothing is written down, commit is presumed",
        "the presumption, the wrong way round",
        COORDINATOR,
        "yield Send(participant, Decision(m.transaction, m.transaction in self.committed))",
        "yield Send(participant, Decision(m.transaction, True))",
        killer="P-S1",
        scenario="COMMIT",
    ),
    Mutant(
        "p07",
        "an abandoned prepare is never asked about",
        "horizontal-scaling-convex #158",
        IN_DOUBT,
        """        for transaction in self.in_doubt:
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
        COORDINATOR,
        """            return  # it is decided, or of an earlier epoch; or the vote has come before
        self.silent[m.transaction].discard(participant)
""",
        """            if m.transaction not in self.asking:
                return
        self.silent[m.transaction].pop()
""",
        killer="P-S2",
        scenario="COMMIT",
    ),
    Mutant(
        "p11",
        "cooperative termination: a fellow answers abort although it knows of the commit",
        "2PCwithBTM without its guard",
        IN_DOUBT,
        "yield Send(fellow, Decision(m.transaction, self.ended[m.transaction]))",
        "yield Send(fellow, Decision(m.transaction, False))",
        killer="P-S1",
        scenario="COMMIT",
    ),
    Mutant(
        "p13",
        "`latest` names a checkpoint as soon as the first rank has written its shard",
        "DeepSpeed, the order in save_checkpoint",
        RANK,
        """        yield from self.on_voted(self.me, Voted(number, True))
""",
        """        from labkit.simulator.checkpoint_folder import publish

        if place == 0:
            publish(self.disk, "latest", f"{number}.step-{self.wish.step}.manifest", 0)
        yield from self.on_voted(self.me, Voted(number, True))
""",
        killer="P-S8",
        scenario="CHECKPOINTS",
    ),
    Mutant(
        "p15",
        "a file gets its name before its bytes are on the disk",
        "DCP, PySyncObj's journal",
        FOLDER,
        """    disk.fsync(new)
""",
        "",
        killer="P-S8",
        scenario="CHECKPOINTS",
    ),
    Mutant(
        "p17",
        "after an elastic change a shard cut for other ranks is taken for one of this attempt",
        "shards of mixed world sizes",
        SAVER,
        "            same = wish_of(m.payload) == self.wish\n",
        "            same = wish_of(m.payload).step == self.wish.step\n",
        killer="P-S8",
        scenario="CHECKPOINTS",
        seed=18,
    ),
    Mutant(
        "p19",
        "a participant that had nothing to write is not told the decision",
        "read-only participants, left out too early",
        COORDINATOR,
        "        yield from self.say(transaction, self.committed[transaction])\n",
        "        yield from self.say(transaction, self.committed[transaction][:-1])\n",
        killer="P-L4",
        scenario="COMMIT",
    ),
]

MORE_COMMIT = [
    Mutant(
        "p21",
        "a new leader presumes abort at once, while its predecessor may still commit",
        "the reason for AbortUndecided",
        REPLICATED,
        "return self.leads and self.epoch == self.term",
        "return self.leads",
        killer="P-S1",
        scenario="REPLICATED_COMMIT",
        seed=43,
    ),
    Mutant(
        "p23",
        "the leader tells the commit when it has proposed it, not when it is chosen",
        "p03, on a log",
        REPLICATED,
        "yield from self.propose(Decide(transaction, self.asking[transaction].participants))",
        """self.committed[transaction] = self.asking[transaction].participants
        yield from self.propose(Decide(transaction, self.committed[transaction]))
        if transaction in self.asking:
            yield from self.decided(transaction)""",
        killer="P-S5",
        scenario="REPLICATED_COMMIT",
    ),
    Mutant(
        "p25",
        "a coordinator that restarts uses its numbers again",
        "an epoch that is not durable",
        COORDINATOR,
        "yield Persist(epoch=self.epoch)",
        "yield from ()",
        killer="P-S7",
        scenario="COMMIT",
    ),
    Mutant(
        "p27",
        "a late prepare gets its yes, after the participant has had its say",
        "a fence that is asked too rarely",
        PARTICIPANT,
        "        if yes and transaction > self.fence:\n",
        "        if yes:\n",
        killer="P-S7",
        scenario="COMMIT",
    ),
    Mutant(
        "p29",
        "the coordinator forgets as soon as one has acknowledged",
        "p19's sister",
        COORDINATOR,
        "            if not self.silent[m.transaction]:\n",
        "            if len(self.silent[m.transaction]) < len(self.committed[m.transaction]):\n",
        killer="P-L4",
        scenario="COMMIT",
    ),
    Mutant(
        "p31",
        "the yes is on its way before it is on the disk",
        "m01, in another protocol",
        PARTICIPANT,
        """            yield Persist(prepared=tuple(self.prepared.values()), fence=self.fence)
            yield Send(coordinator, Voted(transaction, True))
""",
        """            yield Send(coordinator, Voted(transaction, True))
            yield Persist(prepared=tuple(self.prepared.values()), fence=self.fence)
""",
        killer="P-S6",
        scenario="COMMIT",
    ),
    Mutant(
        "p33",
        "whoever has not voted says abort, and votes yes all the same",
        "a refusal that is not durable",
        PARTICIPANT,
        """            self.fence = transaction
            yield Persist(fence=self.fence)
""",
        """            yield from ()
""",
        killer="P-S1",
        scenario="COMMIT",
        seed=8,
    ),
    Mutant(
        "p35",
        "a commit is acknowledged and never written down, so that it is asked about again",
        "an acknowledgement that means nothing",
        PARTICIPANT,
        "        yield Persist(prepared=prepared, ended=ended, **changes)\n",
        "        yield Persist(ended=ended, **changes)\n",
        killer="P-S3",
        scenario="COMMIT",
        seed=1,
    ),
    Mutant(
        "p37",
        "a participant commits as soon as a fellow asks whether it should",
        "optimism",
        IN_DOUBT,
        """        elif m.transaction not in self.prepared:
            yield from self.refuse(m.transaction)
            yield Send(fellow, Decision(m.transaction, False))
""",
        """        elif m.transaction not in self.prepared:
            yield from self.refuse(m.transaction)
            yield Send(fellow, Decision(m.transaction, False))
        else:
            yield from self.end(m.transaction, True)
""",
        killer="P-S9",
        scenario="COMMIT",
    ),
]
