"""Raft's mutants: what is appended, acknowledged, committed and sent again."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

ENTRIES = "labkit.protocols.raft.entries"
LOG = "labkit.protocols.raft.log"

REPLICATION = [
    Mutant(
        "m03",
        "entries are acknowledged before they are on the disk",
        "PySyncObj #84; etcd #14370",
        LOG,
        """        if m.entries:
            yield from self.append(m.prev_index + 1, m.entries)
        yield Send(leader, self.appended(True, last_new, m.round))
""",
        """        yield Send(leader, self.appended(True, last_new, m.round))
        if m.entries:
            yield from self.append(m.prev_index + 1, m.entries)
""",
        killer="R-S8",
        scenario="RAFT",
    ),
    Mutant(
        "m13",
        "entries of earlier terms are committed by counting",
        "the paper's figure 8; an early Raft had it",
        LOG,
        "if index > self.commit_index and self.term_at(index) == self.term:",
        "if index > self.commit_index:",
        killer="R-S4",
        scenario="FIGURE_8",
        seed=20,
    ),
    Mutant(
        "m15",
        "a follower commits up to the end of its log, not of what was shown to match",
        "copycat #265; scylla #9965; etcd #1203",
        LOG,
        """        if min(m.commit, last_new) > self.commit_index:
            self.commit_index = min(m.commit, last_new)
""",
        """        if min(m.commit, self.last_index) > self.commit_index:
            self.commit_index = min(m.commit, self.last_index)
""",
        killer="R-S5",
        scenario="RAFT",
        seed=57,
    ),
    Mutant(
        "m17",
        "the term of the entry before is not compared",
        "c5 #43",
        ENTRIES,
        "return index <= base + len(self.log) and self.log[index - base - 1].term == term",
        "return index <= base + len(self.log)",
        killer="R-S3",
        scenario="RAFT",
        seed=3,
    ),
    Mutant(
        "m19",
        "a conflict is overwritten in place and the stale tail stays",
        "mofa #1150",
        ENTRIES,
        """            self.log[at - base - 1 :] = entries[new:]
            self.log_changed(at)
            yield Persist(log=Splice(at, entries[new:]))  # before anyone is told that it is here
""",
        """            self.log[at - base - 1 : start + len(entries) - base - 1] = entries[new:]
            self.log_changed(at)
            yield Persist(log=Splice(at, tuple(self.log[at - base - 1 :])))
""",
        killer="R-S3",
        scenario="RAFT",
        seed=8,
    ),
    Mutant(
        "m21",
        "an answer from an earlier term moves matchIndex",
        "PySyncObj, next_node_idx",
        LOG,
        "if self.role != LEADER or m.term != self.term:",
        "if self.role != LEADER:",
        killer="R-S10",
        scenario="CROWDED_RAFT",
        seed=8,
    ),
    Mutant(
        "m39",
        "the refusal of an old leader's message echoes the number of its beat",
        "an early version of this very file; the seed found it",
        LOG,
        """            if m.term < self.term:
                yield self.refusal(leader)
                return
            yield from""",
        """            if m.term < self.term:
                yield Send(leader, self.appended(False, 0, m.round))
                return
            yield from""",
        killer="R-S14",
        scenario="LATE_RAFT",
        seed=192,
    ),
    Mutant(
        "m41",
        "who is in a later term than the leader does not tell it",
        "etcd #8501",
        LOG,
        """            if m.term < self.term:
                yield self.refusal(leader)
                return
            yield from""",
        """            if m.term < self.term:
                return
            yield from""",
        killer="R-L5",
        scenario="STUCK_RAFT",
    ),
    Mutant(
        "m45",
        "a message that begins before the follower's snapshot is ignored as too old",
        "scylladb #9552",
        LOG,
        """        if not self.has(m.prev_index, m.prev_term):
            yield""",
        """        if m.prev_index < self.snapshot.index:
            return
        if not self.has(m.prev_index, m.prev_term):
            yield""",
        killer="R-L7",
        scenario="LOSSY_RAFT",
        seed=120,
    ),
    Mutant(
        "m49",
        "an answer that comes twice is answered twice",
        "etcd #1207",
        LOG,
        "if self.role == LEADER and before != self.next_index[follower] <= self.last_index:",
        "if self.role == LEADER and self.next_index[follower] <= self.last_index:",
        killer="R-L8",
        scenario="RAFT",
    ),
    Mutant(
        "m51",
        "a late refusal takes nextIndex below matchIndex",
        "etcd's MaybeDecrTo guards against it: the refusal may be older than the success",
        LOG,
        "elif not m.success and self.match_index[follower] < m.index < before:",
        "elif not m.success and 0 < m.index < before:",
        killer="R-S11",
        scenario="RAFT",
        seed=4,
    ),
    Mutant(
        "m53",
        "a leader looks at what it may commit only when it has something new to propose",
        'the paper\'s figure 2, "Rules for Servers", with one rule left out in one place',
        LOG,
        'on this follower\'s disk."""\n        yield from self.advance_commit_index()',
        'on this follower\'s disk."""\n        yield from ()',
        killer="R-S12",
        scenario="RAFT",
    ),
    Mutant(
        "m55",
        "a leader of an earlier term puts elections off",
        "akka-raft #43",
        LOG,
        """                yield self.refusal(leader)
                return
""",
        """                yield SetTimer("election", self.draw_timeout())
                yield self.refusal(leader)
                return
""",
        killer="R-L1",
        scenario="DEAF_RAFT",
    ),
]
