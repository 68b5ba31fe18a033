"""Raft's fault matrix: messages that are lost, doubled, or late by several elections."""

from __future__ import annotations

from functools import partial

from raft_cells import MORE, cell, changes, probe, voters
from raft_story import SMALL, Story, T

from labkit.protocols.raft.election import CANDIDATE
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.messages import Appended, AppendEntries, Vote
from labkit.protocols.raft.sessions import ClientRequest
from labkit.protocols.raft.transfer import TimeoutNow
from labkit.simulator.network import Network

# -- messages are lost and come twice

LOSSY = Network(loss=0.2, duplicate=0.2)


@cell("loss and duplicates", "R1")
def _(seed: int) -> Story:
    story = Story(seed, network=LOSSY)
    for _ in range(3):
        old = story.leader
        story.kill(old)
        story.expect_leader(but=old)
        story.restart(old)
        story.expect_service(3)
    return story


@cell("loss and duplicates", "R2")
def _(seed: int) -> Story:
    """Entries that come twice are there once."""
    story = Story(seed, network=LOSSY)
    story.expect_service(60, within=15.0)
    return story


@cell("loss and duplicates", "R3")
def _(seed: int) -> Story:
    """A command that comes twice takes effect once."""
    story = Story(seed, network=LOSSY)
    request = ClientRequest(1, MORE)

    def done() -> bool:
        story.tell(story.leader if story.sim.leader() is not None else 0, request)
        story.run(0.01)
        return any(reply.done for _, reply in probe(story).replies)

    for _ in range(300):
        if done():
            break
    assert done()
    story.peace()
    assert story.node(story.leader).machine.values["probe"] == "."
    return story


@cell("loss and duplicates", "R4")
def _(seed: int) -> Story:
    """A wish that comes twice is fulfilled once."""
    story = Story(seed, network=LOSSY, protocol=partial(SMALL, compact=1000))
    removed = story.others(story.leader)[0]
    for _ in range(40):
        for i in story.everybody:
            story.tell(i, ChangeMembership(remove=removed))
        story.run(0.05)
    story.peace()
    assert len(changes(story, story.leader)) == 1
    assert voters(story, story.leader) == set(story.others(removed))
    return story


# -- messages that are late by several elections

LATE = Network(tail=0.2, tail_seconds=1.5)


def third_term(story: Story) -> int:
    """Two leaders die and come back; whoever leads then."""
    for _ in range(2):
        old = story.leader
        story.kill(old)
        story.expect_leader(but=old)
        story.restart(old)
    story.run(0.1)
    return story.leader


@cell("late messages", "R1")
def _(seed: int) -> Story:
    """Votes of an earlier term do not count."""
    story = Story(seed, network=LATE)
    leader = third_term(story)
    story.kill(leader)
    alive = story.others(leader)
    story.expect(lambda: any(story.node(i).role == CANDIDATE for i in alive), 20 * T, "a candidate")
    candidate = next(i for i in alive if story.node(i).role == CANDIDATE)
    before = set(story.node(candidate).votes)
    for i in alive:
        story.tell(candidate, Vote(story.node(candidate).term - 1, True), i)
    assert story.node(candidate).votes <= before | {candidate}
    story.expect_leader()
    return story


@cell("late messages", "R2")
def _(seed: int) -> Story:
    """Entries of an earlier leader cut nothing off, and put no election off."""
    story = Story(seed)
    leader = third_term(story)
    follower = story.others(leader)[0]
    node = story.node(follower)
    last, timer = node.last_index, story.sim._nodes[follower].timers["election", None][0]
    stale = AppendEntries(node.term - 1, 0, 0, (), 0, 1)
    story.tell(follower, stale, story.others(leader)[1])
    assert node.last_index == last
    assert story.sim._nodes[follower].timers["election", None][0] == timer
    return story


@cell("late messages", "R3")
def _(seed: int) -> Story:
    """Acknowledgements of an earlier term commit nothing."""
    story = Story(seed)
    leader = third_term(story)
    node = story.node(leader)
    story.tell(leader, ClientRequest(1, MORE))
    commit = node.commit_index
    for follower in story.others(leader):
        story.tell(leader, Appended(node.term - 1, True, node.last_index, node.round), follower)
    assert node.commit_index == commit
    return story


@cell("late messages", "R4")
def _(seed: int) -> Story:
    """A late TimeoutNow is ignored."""
    story = Story(seed)
    leader = third_term(story)
    with story.nothing_changes():
        for follower in story.others(leader):
            story.tell(follower, TimeoutNow(story.node(follower).term - 1), leader)
        story.run(10 * T)
    return story
