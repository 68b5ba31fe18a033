"""Replication's mutants. Most are slips that are easy to make; the source says where one was made,
or which paper's sentence it goes against."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

QUORUM = "labkit.protocols.quorum"
PRIMARY_BACKUP = "labkit.protocols.primary_backup"
BLOCKS = "labkit.protocols.blocks"

QUORUM_MUTANTS = [
    Mutant(
        "q01",
        "half of the members are taken for a majority: R + W = N",
        "Gifford 1979: r + w > N",
        QUORUM,
        "majority = len(members) // 2 + 1",
        "majority = (len(members) + 1) // 2",
        killer="Q-S1",
        scenario="QUORUM",
        seed=2,
    ),
    Mutant(
        "q02",
        "a read returns its own copy, not the newest of R",
        "Gifford 1979: of a read quorum, the current one",
        QUORUM,
        "            call.version = newest\n",
        "            call.version = newest = call.known[self.me]\n",
        killer="Q-S1",
        scenario="QUORUM",
    ),
    Mutant(
        "q03",
        "a write is acknowledged before W copies are there",
        "Dynamo 2007, §4.5",
        QUORUM,
        "return self.writes if not call.reading or self.repair == BEFORE else 0",
        "return self.writes - 1 if not call.reading or self.repair == BEFORE else 0",
        killer="Q-S3",
        scenario="QUORUM",
    ),
    Mutant(
        "q04",
        "read repair writes an older value over a newer one",
        "the lab's own",
        QUORUM,
        "if v.stamp > self.version(k).stamp}",
        "if v.stamp != self.version(k).stamp}",
        killer="Q-S4",
        scenario="QUORUM",
    ),
    Mutant(
        "q05",
        "a read answers before it has written back what it saw",
        "ABD 1995; Cassandra 4.0 can be told to (read_repair = NONE)",
        QUORUM,
        "return self.writes if not call.reading or self.repair == BEFORE else 0",
        "return self.writes if not call.reading else 0",
        killer="Q-S2",
        scenario="HASTY_QUORUM",
        seed=28,
    ),
    Mutant(
        "q06",
        "acknowledgements are counted, not replicas: a duplicate counts twice",
        "akka-raft #45 has it with votes",
        QUORUM,
        "            call.known[replica] = call.version\n",
        "            call.known[-1 - len(call.known)] = call.version\n",
        killer="Q-S3",
        scenario="QUORUM",
        seed=3,
    ),
    Mutant(
        "q07",
        "an answer to an earlier life of the coordinator is taken for one to this",
        "the lab's own",
        QUORUM,
        "operation = self.life, self.number",
        "operation = 0, self.number",
        killer="Q-S3",
        scenario="HASTY_QUORUM",
        seed=33,
    ),
    Mutant(
        "q08",
        "a request that arrives twice is executed twice",
        "found in the lab's first version by C-S1",
        QUORUM,
        "if m.serial <= self.written.get(client, 0):",
        "if m.serial < 0:",
        killer="C-S1",
        scenario="QUORUM",
        seed=8,
    ),
    Mutant(
        "q09",
        "after a crash a coordinator gives an old version to a new value",
        "the lab's own",
        QUORUM,
        """            yield Persist(registers=dict(self.registers), written=dict(self.written))
        if self.spreads(call):
            call.known[self.me] = call.version
            yield Broadcast(behind, self.update(operation, call))
""",
        """        if self.spreads(call):
            call.known[self.me] = call.version
            yield Broadcast(behind, self.update(operation, call))
            yield Persist(registers=dict(self.registers), written=dict(self.written))
""",
        killer="Q-S4",
        scenario="HASTY_QUORUM",
        seed=17,
    ),
]

BACKUP_MUTANTS = [
    Mutant(
        "v01",
        "promotion without a fence: a backup still takes entries from the deposed primary",
        "VR Revisited 2012, §4.1; Elasticsearch #10407",
        PRIMARY_BACKUP,
        """        if m.view < self.view:
            return  # the fence: that primary has been replaced
""",
        "",
        killer="V-S1",
        scenario="PRIMARY_BACKUP",
        seed=1,
    ),
    Mutant(
        "v02",
        "the promise to a view is forgotten in a crash",
        "VR Revisited 2012, §4.3",
        PRIMARY_BACKUP,
        "        yield Persist(view=view)\n",
        "",
        killer="V-S4",
        scenario="PRIMARY_BACKUP",
    ),
    Mutant(
        "v03",
        "the longest log becomes the new view's, of whatever view it is",
        "VR Revisited 2012, §4.2; Elasticsearch #14671",
        PRIMARY_BACKUP,
        "key=lambda m: (m.last_normal, len(m.log))",
        "key=lambda m: len(m.log)",
        killer="V-S2",
        scenario="PRIMARY_BACKUP",
        seed=207,
    ),
    Mutant(
        "v04",
        "a view begins with fewer logs than a majority",
        "VR Revisited 2012, §4.2",
        PRIMARY_BACKUP,
        "if len(self.changes) >= self.majority:",
        "if len(self.changes) >= self.majority - 1:",
        killer="V-S2",
        scenario="PRIMARY_BACKUP",
    ),
    Mutant(
        "v05",
        "a client is answered when one copy less is there",
        "Alsberg and Day 1976: n-host resiliency",
        PRIMARY_BACKUP,
        "[self.copies - 1]",
        "[self.copies - 2]",
        killer="V-S3",
        scenario="PRIMARY_BACKUP",
    ),
    Mutant(
        "v06",
        "a backup acknowledges before the entry is on its disk",
        "PySyncObj #84 has it in Raft",
        PRIMARY_BACKUP,
        """            yield from self.append(m.start, m.entries)
            yield Send(primary, PrepareOk(self.view, len(self.log)))
        yield from self.execute_up_to(m.commit)

    def on_prepare_ok""",
        """            end = max(len(self.log), m.start + len(m.entries) - 1)
            yield Send(primary, PrepareOk(self.view, end))
            yield from self.append(m.start, m.entries)
        yield from self.execute_up_to(m.commit)

    def on_prepare_ok""",
        killer="V-S3",
        scenario="PRIMARY_BACKUP",
        seed=5,
    ),
    Mutant(
        "v07",
        "the primary answers reads alone: it may have been replaced",
        "etcd #741",
        PRIMARY_BACKUP,
        "if m.local and isinstance(m.command, Get):",
        "if (m.local or self.leads) and isinstance(m.command, Get):",
        killer="C-S1",
        scenario="PRIMARY_BACKUP",
    ),
    Mutant(
        "v08",
        "a request that arrives twice is executed twice",
        "found in the lab's first version by C-S1",
        PRIMARY_BACKUP,
        "elif self.leads and m.serial <= self.serials.get(client, 0):",
        "elif self.leads and m.serial < 0:",
        killer="C-S1",
        scenario="PRIMARY_BACKUP",
        seed=8,
    ),
]

BLOCK_MUTANTS = [
    Mutant(
        "b01",
        "re-replication counts the copies of dead stores",
        "GFS 2003, §4.3",
        BLOCKS,
        """        for holders in self.holders.values():
            holders.discard(store)
        for block, target""",
        """        for block, target""",
        killer="B-S3",
        scenario="BLOCKS",
    ),
    Mutant(
        "b02",
        "blocks are copied in the order of their names",
        "GFS 2003, §4.3",
        BLOCKS,
        "key=lambda b: (len(self.holders[b]) + count[b], b)",
        "key=lambda b: b",
        killer="B-S2",
        scenario="BLOCKS",
    ),
    Mutant(
        "b03",
        "a copy whose message was lost is waited for, for ever",
        "HDFS has PendingReconstructionBlocks for it",
        BLOCKS,
        '            yield SetTimer("overdue", 2 * self.patience, key=(block, target))\n',
        "",
        killer="B-L1",
        scenario="BLOCKS",
        seed=6,
    ),
    Mutant(
        "b04",
        "a store that comes back empty is believed to have what it had",
        "GFS 2003, §2.6.2: what a store has, only it can say",
        BLOCKS,
        """            else:
                holders.discard(store)
        yield from self.replicate()
""",
        """        yield from self.replicate()
""",
        killer="B-L1",
        scenario="BLOCKS",
        seed=106,
    ),
    Mutant(
        "b05",
        "a second copy is made on a store that has one",
        "the lab's own",
        BLOCKS,
        "takers = self.alive - held - ",
        "takers = self.alive - ",
        killer="B-L1",
        scenario="BLOCKS",
        seed=2,
    ),
]

REPLICATION = [*QUORUM_MUTANTS, *BACKUP_MUTANTS, *BLOCK_MUTANTS]
