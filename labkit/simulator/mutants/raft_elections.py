"""Raft's mutants: votes, terms, and who may stand."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

ELECTION = "labkit.protocols.raft.election"
PRE_VOTE = "labkit.protocols.raft.pre_vote"

ELECTIONS = [
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
        seed=19,
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
        "a voter votes in the candidate's term and stays in its own, in which it is free again",
        "nebula #685",
        ELECTION,
        """        yield from self.observe_term(m.term)
        granted = m.term == self.term and self.voted_for in (None, candidate) and self.is_current(m)
        if granted:
            if self.voted_for is None:
                self.voted_for = candidate
                yield Persist(term=self.term, voted_for=candidate)  # a vote must outlive a crash
            yield SetTimer("election", self.draw_timeout())
        yield Send(candidate, Vote(self.term, granted, self.identity))
""",
        """        term = max(m.term, self.term)
        free = self.voted_for in (None, candidate) or m.term > self.term
        granted = m.term == term and free and self.is_current(m)
        if granted:
            self.voted_for = candidate
            yield Persist(term=self.term, voted_for=candidate)
            yield SetTimer("election", self.draw_timeout())
        yield Send(candidate, Vote(term, granted, self.identity))
""",
        killer="R-S1",
        scenario="PLAIN_RAFT",
        seed=4,
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
]
