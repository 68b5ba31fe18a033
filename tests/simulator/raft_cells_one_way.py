"""Raft's fault matrix: a leader that is only heard, or only hears, or stands still."""

from __future__ import annotations

from functools import partial

from raft_cells import MORE, cell, probe, write_in_vain
from raft_story import PROBE, SMALL, Story, T

from labkit.faults import Cut
from labkit.protocols.raft.election import FOLLOWER
from labkit.protocols.raft.machine import Get
from labkit.protocols.raft.messages import AppendEntries
from labkit.protocols.raft.reads import ClientRead
from labkit.protocols.raft.sessions import ClientRequest
from labkit.protocols.raft.transfer import TransferLeadership

# -- the leader sends, and hears nothing


@cell("leader sends only", "R1")
def _(seed: int) -> Story:
    """E, once CheckQuorum has made it step down; without that it would rule for ever."""
    story = Story(seed)
    old = story.leader
    story.deafen(old)
    story.expect_leader(but=old)
    endless = Story(seed, protocol=partial(SMALL, check_quorum=False), invariants=())
    endless.deafen(endless.leader)
    with endless.nothing_changes():
        endless.run(40 * T)
    endless.heal()
    return story


@cell("leader sends only", "R2")
def _(seed: int) -> Story:
    """It hears of no acknowledgement."""
    story = Story(seed)
    old = story.leader
    story.deafen(old)
    story.run(0.01)
    node = story.node(old)
    match = dict(node.match_index)
    story.expect(lambda: node.role == FOLLOWER, 2 * T, "the old leader steps down")
    assert node.match_index == match
    return story


@cell("leader sends only", "R3")
def _(seed: int) -> Story:
    """U, until there is another leader."""
    story = Story(seed)
    old = story.leader
    story.deafen(old)
    story.run(0.01)
    commit = story.node(old).commit_index
    story.expect(lambda: story.node(old).role == FOLLOWER, 2 * T, "the old leader steps down")
    assert story.node(old).commit_index == commit
    story.expect_leader(but=old)
    story.expect_service()
    return story


@cell("leader sends only", "R4")
def _(seed: int) -> Story:
    """A transfer is off after T."""
    story = Story(seed)
    old = story.leader
    story.deafen(old)
    story.run(0.01)
    write_in_vain(story, old)
    story.tell(old, TransferLeadership(story.others(old)[0]))
    assert story.node(old).transfer_to is not None
    story.run(T)
    assert story.node(old).role == FOLLOWER or story.node(old).transfer_to is None
    story.expect_leader()
    return story


# -- the leader hears, and is not heard


@cell("leader hears only", "R1")
def _(seed: int) -> Story:
    story = Story(seed)
    old = story.leader
    story.mute(old)
    story.expect_leader(but=old)
    return story


@cell("leader hears only", "R2")
def _(seed: int) -> Story:
    """What it appends reaches nobody."""
    story = Story(seed)
    old = story.leader
    story.mute(old)
    index, term = write_in_vain(story, old)
    story.run(T)
    assert [i for i in story.everybody if story.in_log(i, index, term)] == [old]
    story.expect_leader(but=old)
    return story


@cell("leader hears only", "R3")
def _(seed: int) -> Story:
    """U until E."""
    story = Story(seed)
    old = story.leader
    story.mute(old)
    story.run(0.01)
    commit = story.committed()
    story.run(0.9 * T)
    assert story.committed() == commit
    story.expect_leader(but=old)
    story.expect_service()
    return story


@cell("leader hears only", "R4")
def _(seed: int) -> Story:
    """Its last request is not heard; E all the same."""
    story = Story(seed)
    old = story.leader
    story.mute(old)
    story.tell(old, TransferLeadership(story.others(old)[0]))
    story.expect_leader(but=old)
    return story


# -- the leader stands still for longer than a time-out, and goes on


@cell("pause leader", "R1")
def _(seed: int) -> Story:
    """E; when it goes on it steps down at once."""
    story = Story(seed)
    old = story.leader
    story.pause(old, 10 * T)
    story.expect_leader(but=old)
    story.run(10 * T)
    assert story.node(old).role == FOLLOWER
    return story


@cell("pause leader", "R2")
def _(seed: int) -> Story:
    """What it had on its way is refused."""
    story = Story(seed)
    old = story.leader
    story.pause(old, 10 * T)
    new = story.expect_leader(but=old)
    node = story.node(new)
    last = node.last_index
    entry = AppendEntries(node.term - 1, 0, 0, (), last, 1)
    story.tell(new, entry, old)
    assert (node.role, story.leader) == ("leader", new)
    story.run(10 * T)
    return story


@cell("pause leader", "R3")
def _(seed: int) -> Story:
    """No stale read, also of what was asked while it stood still (etcd #20418)."""
    story = Story(seed)
    old = story.leader
    story.pause(old, 10 * T)
    story.tell(old, ClientRead(1, Get("probe")))
    new = story.expect_leader(but=old)
    story.tell(new, ClientRequest(1, MORE), sender=PROBE)
    story.run(20 * T)
    answers = [(server, reply) for server, reply in probe(story).replies if reply.done]
    assert [(server, reply.result) for server, reply in answers] == [(new, ".")]
    return story


@cell("pause leader", "R4")
def _(seed: int) -> Story:
    """A transfer that was under way is off."""
    story = Story(seed)
    old = story.leader
    story.inject(Cut(old, story.others(old)[0]))
    story.run(0.01)
    write_in_vain(story, old)
    story.tell(old, TransferLeadership(story.others(old)[0]))
    assert story.node(old).transfer_to is not None
    story.pause(old, 10 * T)
    story.heal()
    story.expect_leader(but=old)
    story.run(10 * T)
    assert story.node(old).role == FOLLOWER
    return story
