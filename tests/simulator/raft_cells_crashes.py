"""Raft's fault matrix: a crash before or after what matters is on the disk, and disks that fail."""

from __future__ import annotations

from raft_cells import MORE, cell, probe, voters
from raft_story import PROBE, SMALL, Story, T

from labkit.faults import Cut, DiskError, WipeDisk
from labkit.protocols.raft.election import CANDIDATE
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.messages import AppendEntries, RequestVote
from labkit.protocols.raft.sessions import ClientRequest
from labkit.simulator.journaled import journaled

# -- crash before what matters is on the disk


def candidate_of(story: Story) -> tuple[int, int, RequestVote]:
    """The leader is dead. A candidate, a voter that has not yet heard of it, and its request."""
    story.kill(story.leader)
    alive = [i for i in story.everybody if story.sim.alive(i)]
    story.expect(lambda: any(story.node(i).role == CANDIDATE for i in alive), 10 * T, "a candidate")
    candidate = next(i for i in alive if story.node(i).role == CANDIDATE)
    voter = next(i for i in alive if story.node(i).term < story.node(candidate).term)
    node = story.node(candidate)
    return candidate, voter, RequestVote(node.term, *node.last_entry())


def unheard_append(story: Story) -> tuple[int, int, AppendEntries]:
    """A leader, a follower that it does not reach, and a message with an entry that it lacks."""
    leader = story.leader
    follower = story.others(leader)[0]
    story.inject(Cut(leader, follower))
    story.run(0.02)
    story.tell(leader, ClientRequest(1, MORE))
    node = story.node(leader)
    node.next_index[follower] = node.match_index[follower] + 1
    message = node.append_entries(follower)
    assert message.entries
    return leader, follower, message


@cell("crash before persist", "R1")
def _(seed: int) -> Story:
    """The vote is not on the wire, and after the restart it is free."""
    story = Story(seed)
    candidate, voter, request = candidate_of(story)
    story.crash_in(voter, 0, request, candidate)
    assert story.sim.on_disk(voter)["term"] < request.term
    story.restart(voter)
    story.tell(voter, request, candidate)
    assert story.node(voter).voted_for == candidate
    story.expect_leader()
    return story


@cell("crash before persist", "R2")
def _(seed: int) -> Story:
    """The entry is not acknowledged."""
    story = Story(seed)
    leader, follower, message = unheard_append(story)
    story.crash_in(follower, 1, message, leader)
    story.run(0.02)
    index, node = message.prev_index + len(message.entries), story.node(leader)
    assert not story.in_log(follower, index, node.term)
    assert node.match_index[follower] < index
    return story


@cell("crash before persist", "R3")
def _(seed: int) -> Story:
    """A leader that dies before it has written a command has committed nothing."""
    story = Story(seed)
    leader = story.leader
    story.run(0.03)
    story.crash_in(leader, 0, ClientRequest(1, MORE))
    story.expect_leader(but=leader)
    story.peace()
    assert PROBE not in story.node(story.leader).sessions
    return story


@cell("crash before persist", "R4")
def _(seed: int) -> Story:
    """The configuration is not in force after the restart."""
    story = Story(seed)
    leader = story.leader
    story.crash_in(leader, 0, ChangeMembership(remove=story.others(leader)[0]))
    story.restart(leader)
    assert voters(story, leader) == set(story.everybody)
    story.expect_leader()
    return story


# -- crash when it is on the disk and nobody has been told


@cell("crash after persist", "R1")
def _(seed: int) -> Story:
    """The same vote is given again when it is asked for again, and no other one."""
    story = Story(seed)
    candidate, voter, request = candidate_of(story)
    story.crash_in(voter, 3, request, candidate)
    assert story.sim.on_disk(voter)["voted_for"] == candidate
    story.restart(voter)
    rival = next(i for i in story.others(candidate, voter) if story.sim.alive(i))
    story.tell(voter, request, rival)
    story.tell(voter, request, candidate)
    assert story.node(voter).voted_for == candidate
    story.run(0.01)
    assert voter in story.node(candidate).votes or story.leads(candidate)
    return story


@cell("crash after persist", "R2")
def _(seed: int) -> Story:
    """The entry is acknowledged when it is sent again."""
    story = Story(seed)
    leader, follower, message = unheard_append(story)
    index, node = message.prev_index + len(message.entries), story.node(leader)
    story.crash_in(follower, 2, message, leader)
    assert story.in_log(follower, index, message.entries[-1].term)
    assert node.match_index[follower] < index
    story.heal()
    story.restart(follower)
    story.expect(lambda: node.match_index[follower] >= index, 1.0, "an acknowledgement")
    return story


@cell("crash after persist", "R3")
def _(seed: int) -> Story:
    """What was committed is applied again from the log, and takes effect once."""
    story = Story(seed)
    leader = story.leader
    story.tell(leader, ClientRequest(1, MORE))
    story.kill(leader)
    new = story.expect_leader(but=leader)
    story.tell(new, ClientRequest(1, MORE))
    story.restart(leader)
    story.peace()
    assert {story.node(i).machine.values["probe"] for i in story.everybody} == {"."}
    return story


@cell("crash after persist", "R4")
def _(seed: int) -> Story:
    """The configuration is in force from the log, for as long as it stays there."""
    story = Story(seed)
    leader = story.leader
    removed = story.others(leader)[0]
    story.crash_in(leader, 1, ChangeMembership(remove=removed))
    story.restart(leader)
    assert voters(story, leader) == set(story.others(removed))
    story.expect_leader()
    return story


# -- disks: a torn tail, a failed write, a disk that is lost


@cell("disk", "R1")
def _(seed: int) -> Story:
    """A node whose write fails stops; one that has lost its disk is no voter any more."""
    story = Story(seed, storage=journaled(SMALL, seed))
    leader = story.leader
    failing, wiped = story.others(leader)[:2]
    story.inject(DiskError(failing), WipeDisk(wiped))
    story.expect(lambda: not story.sim.alive(failing), 1.0, "the write fails")
    story.restart(failing, wiped)
    assert not story.node(wiped).may_stand()
    story.kill(leader)
    new = story.expect_leader(but=leader)
    assert wiped not in story.node(new).votes
    return story


@cell("disk", "R2")
def _(seed: int) -> Story:
    """What a failed write leaves behind, torn in the middle, is cut off by its checksum; what is
    left is the beginning of the leader's log, and the rest is sent again."""
    story = Story(seed, storage=journaled(SMALL, seed))
    follower = story.others(story.leader)[0]
    story.inject(DiskError(follower))
    story.expect(lambda: not story.sim.alive(follower), 1.0, "the write fails")
    story.restart(follower)
    last_term, last = story.node(follower).last_entry()
    assert story.in_log(story.leader, last, last_term)
    goal = story.node(story.leader).last_index
    story.expect(lambda: story.node(follower).last_index >= goal, 1.0, "the follower's log")
    return story


@cell("disk", "R3")
def _(seed: int) -> Story:
    """What was committed is on a majority's disks, with one that is lost."""
    story = Story(seed)
    leader = story.leader
    story.tell(leader, ClientRequest(1, MORE))
    story.run(0.05)
    assert [reply.done for _, reply in probe(story).replies] == [True]
    wiped = story.others(leader)[0]
    story.inject(WipeDisk(wiped))
    story.restart(wiped)
    story.kill(leader)
    new = story.expect_leader(but=leader)
    story.expect_service()
    assert story.node(new).machine.values["probe"] == "."
    return story


@cell("disk", "R4")
def _(seed: int) -> Story:
    """A node that has lost its disk comes back as a learner, and as another voter."""
    story = Story(seed)
    leader = story.leader
    wiped = story.others(leader)[0]
    story.inject(WipeDisk(wiped))
    story.restart(wiped)
    story.tell(leader, ChangeMembership(remove=wiped))
    story.run(0.1)
    story.tell(leader, ChangeMembership(add=wiped))
    story.expect(lambda: wiped in voters(story, leader), 1.0, "a new voter")
    assert story.node(leader).voters[wiped] == story.node(wiped).identity != 0
    story.expect(lambda: story.node(wiped).may_stand(), 1.0, "it knows")
    return story
