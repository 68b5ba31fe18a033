"""Raft's mutants: what implementations got wrong, and the invariant that must find it."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

ELECTION = "labkit.protocols.raft.election"
ENTRIES = "labkit.protocols.raft.entries"
LOG = "labkit.protocols.raft.log"
PRE_VOTE = "labkit.protocols.raft.pre_vote"
CHECK_QUORUM = "labkit.protocols.raft.check_quorum"
MEMBERSHIP = "labkit.protocols.raft.membership"
SESSIONS = "labkit.protocols.raft.sessions"
TRANSFER = "labkit.protocols.raft.transfer"
READS = "labkit.protocols.raft.reads"

RAFT = [
    Mutant(
        "m01",
        "the vote is not on the disk when it is sent",
        "PySyncObj #84; cornerstone #65",
        ELECTION,
        "yield Persist(term=self.term, voted_for=candidate)  # a vote must outlive a crash",
        "pass",
        killer="R-S8",
        scenario="RAFT",
    ),
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
        "m05",
        "whoever steps down in its term forgets its vote",
        "CCF #8094",
        ELECTION,
        """            yield CancelTimer("beat")
        self.role, self.leader = FOLLOWER, leader
""",
        """            yield CancelTimer("beat")
            self.voted_for = None
            yield Persist(term=self.term, voted_for=None)
        self.role, self.leader = FOLLOWER, leader
""",
        killer="R-S7",
        scenario="PLAIN_RAFT",
        seed=6,
    ),
    Mutant(
        "m07",
        "answers are counted, not voters: a duplicate is a second vote",
        "akka-raft #45",
        ELECTION,
        """            self.votes.add(voter)  # a set: a vote that arrives twice counts once
            if self.is_quorum(self.votes):
""",
        """            self.votes.add(-1 - len(self.votes))
            if 2 * len(self.votes) > len(self.voters):
""",
        killer="R-S1",
        scenario="PLAIN_RAFT",
        seed=187,
    ),
    Mutant(
        "m09",
        "a vote is given without a look at the candidate's log",
        "akka-raft #30, #51",
        ELECTION,
        "return (m.last_term, m.last_index) >= self.last_entry()",
        "return True",
        killer="R-S4",
        scenario="RAFT",
        seed=6,
    ),
    Mutant(
        "m11",
        "an equal log does not count as current",
        "from memory",
        ELECTION,
        "return (m.last_term, m.last_index) >= self.last_entry()",
        "return (m.last_term, m.last_index) > self.last_entry()",
        killer="R-L1",
        scenario="RAFT",
    ),
    Mutant(
        "m13",
        "entries of earlier terms are committed by counting",
        "the paper's figure 8; an early Raft had it",
        LOG,
        "if index > self.commit_index and self.term_at(index) == self.term:",
        "if index > self.commit_index:",
        killer="R-S9",
        scenario="RAFT",
        seed=1,
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
        seed=1,
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
        "m23",
        "a candidate does not set its time-out anew: a split vote is never resolved",
        "after akka-raft #43",
        ELECTION,
        """        yield Record("role", "becomes candidate", term=self.term)
        yield SetTimer("election", self.draw_timeout())
""",
        """        yield Record("role", "becomes candidate", term=self.term)
        yield CancelTimer("election")
""",
        killer="R-L1",
        scenario="RAFT",
    ),
    Mutant(
        "m25",
        "a vote for the candidate's term is given in the voter's own",
        "nebula #685",
        ELECTION,
        """        yield from self.observe_term(m.term)
        granted = m.term == self.term and self.voted_for in (None, candidate) and self.is_current(m)
""",
        """        free = self.voted_for in (None, candidate) or m.term > self.term
        granted = m.term >= self.term and free and self.is_current(m)
""",
        killer="R-S8",
        scenario="RAFT",
    ),
    Mutant(
        "m27",
        "a PreVote raises the voter's term",
        "the thesis, §9.6, misread",
        PRE_VOTE,
        """        current = self.is_current(RequestVote(m.term, m.last_term, m.last_index))
""",
        """        yield from self.observe_term(m.term)
        current = self.is_current(RequestVote(m.term, m.last_term, m.last_index))
""",
        killer="R-S15",
        scenario="RAFT",
    ),
    Mutant(
        "m29",
        "a leader that nobody answers goes on leading",
        "openraft #2080",
        CHECK_QUORUM,
        "if self.check_quorum and (late or not self.hears_a_quorum()):",
        "if False:",
        killer="R-L4",
        scenario="RAFT",
    ),
    Mutant(
        "m31",
        "a read is answered by a round of beats from before it",
        "etcd-io/raft #397",
        READS,
        "self.waiting.append(Waiting(self.round, client, m))",
        "self.waiting.append(Waiting(min(self.rounds.values(), default=0), client, m))",
        killer="R-S14",
        scenario="PLAIN_RAFT",
        seed=60,
    ),
    Mutant(
        "m33",
        "a change of the voters begins while another is under way",
        "after async-raft #62: majorities that are counted in two configurations at once",
        MEMBERSHIP,
        "return settled and self.term_at(self.commit_index) == self.term",
        "return True",
        killer="R-S13",
        scenario="RAFT_CHANGES",
    ),
    Mutant(
        "m35",
        "a node with an empty disk takes itself for the founder that it was",
        "etcd's README: an id is used only once",
        MEMBERSHIP,
        """        self.identity = stored.get("identity", NOBODY)
        if not self.configurations:  # no snapshot has told it
            self.configurations = [(0, stored.get("voters", ())), *self.changes_after(0)]
""",
        """        self.identity = stored.get("identity", 0)
        if not self.configurations:  # no snapshot has told it
            founders = tuple((member, 0) for member in self.members)
            self.configurations = [(0, founders), *self.changes_after(0)]
""",
        killer="R-S7",
        scenario="RAFT",
        seed=301,
    ),
    Mutant(
        "m37",
        "a command that is sent again is applied again",
        "the thesis, §6.3, left out",
        SESSIONS,
        "if request.serial > serial:",
        "if True:",
        killer="R-S14",
        scenario="RAFT",
        seed=9,
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
        "m43",
        "a transfer that does not come about is never given up",
        "openraft #1747",
        TRANSFER,
        """        self.transfer_to = None

    def become_leader""",
        """        pass

    def become_leader""",
        killer="R-L6",
        scenario="RAFT_CHANGES",
        seed=2,
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
        "m47",
        "a leader says yes to whoever would depose it",
        "braft #365; sofa-jraft #15",
        PRE_VOTE,
        """        if self.role == LEADER:
            return True
        recent""",
        "        recent",
        killer="R-L3",
        scenario="RAFT",
        seed=4,
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
]
