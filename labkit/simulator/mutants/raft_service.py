"""Raft's mutants: what makes it fit for use: clients, reads, voters that change, transfers."""

from __future__ import annotations

from labkit.simulator.mutants import Mutant

CHECK_QUORUM = "labkit.protocols.raft.check_quorum"
MEMBERSHIP = "labkit.protocols.raft.membership"
SESSIONS = "labkit.protocols.raft.sessions"
TRANSFER = "labkit.protocols.raft.transfer"
READS = "labkit.protocols.raft.reads"

SERVICE = [
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
        killer="R-S1",
        scenario="WIPED_RAFT",
        seed=54,
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
        seed=8,
    ),
]
