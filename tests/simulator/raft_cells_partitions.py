"""Raft's fault matrix: parts of the group that cannot hear each other."""

from __future__ import annotations

from functools import partial

import pytest
from raft_cells import MORE, cell, covered, probe, voters, write_in_vain
from raft_story import SMALL, Story, T

from labkit.protocols.raft.election import FOLLOWER
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.sessions import ClientRequest
from labkit.protocols.raft.transfer import TransferLeadership

# -- the leader is in a minority


@cell("leader in minority", "R1")
def _(seed: int) -> Story:
    """E where the majority is; the old leader steps down by itself."""
    story = Story(seed)
    old = story.leader
    story.isolate(old, story.others(old)[0])
    story.expect(lambda: story.node(old).role == FOLLOWER, 2 * T, "the old leader steps down")
    new = story.expect_leader(but=old)
    assert new not in (old, story.others(old)[0])
    return story


@cell("leader in minority", "R2")
def _(seed: int) -> Story:
    """What the minority has appended is overwritten."""
    story = Story(seed)
    old = story.leader
    mate = story.others(old)[0]
    story.isolate(old, mate)
    index, term = write_in_vain(story, old)
    story.run(0.02)
    assert story.in_log(mate, index, term)
    story.expect_leader(but=old)
    story.expect_service()
    story.peace()
    assert not any(
        story.in_log(i, index, term) and not covered(story, i, index) for i in (old, mate)
    )
    return story


@cell("leader in minority", "R3")
def _(seed: int) -> Story:
    """The old leader commits nothing more, and steps down within 2 T."""
    story = Story(seed)
    old = story.leader
    story.isolate(old, story.others(old)[0])
    story.run(0.01)
    commit = story.node(old).commit_index
    story.tell(old, ClientRequest(1, MORE))
    story.run(2 * T)
    assert story.node(old).role == FOLLOWER
    assert story.node(old).commit_index == commit
    assert not any(reply.done for _, reply in probe(story).replies)
    return story


@cell("leader in minority", "R4")
def _(seed: int) -> Story:
    """A change that a minority begins is never committed."""
    story = Story(seed)
    old = story.leader
    story.isolate(old, story.others(old)[0])
    story.tell(old, ChangeMembership(remove=story.others(old)[3]))
    assert len(voters(story, old)) == 4
    story.expect_leader(but=old)
    story.peace()
    assert all(voters(story, i) == set(story.everybody) for i in story.everybody)
    return story


# -- a follower is away and comes back


@cell("follower isolated", "R1")
def _(seed: int) -> Story:
    """N with PreVote; without it the leader is deposed, and few elections make another."""
    story = Story(seed)
    follower = story.others(story.leader)[0]
    with story.nothing_changes():
        story.isolate(follower)
        story.run(20 * T)
        story.heal()
        story.run(10 * T)
    plain = Story(seed, protocol=partial(SMALL, pre_vote=False))
    plain.isolate(plain.others(plain.leader)[0])
    plain.run(20 * T)
    away = max(plain.node(i).term for i in plain.everybody)
    plain.heal()
    plain.run(20 * T)
    assert away < plain.node(plain.leader).term <= away + 4
    return story


@cell("follower isolated", "R2")
def _(seed: int) -> Story:
    """Its log finds to the leader's within a round for each term, and one."""
    story = Story(seed, protocol=partial(SMALL, compact=1000))
    old = story.leader
    story.isolate(old)
    write_in_vain(story, old)
    story.kill(story.expect_leader(but=old))
    new = story.expect_leader(but=old)
    story.expect_service()
    refused = []
    on_appended = type(story.node(new)).on_appended

    def counting(self, follower, m):  # type: ignore[no-untyped-def]
        if follower == old and not m.success and m.term == self.term:
            refused.append(m.index)
        yield from on_appended(self, follower, m)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(story.node(new)), "on_appended", counting)
        story.heal()
        goal = story.node(new).last_index
        story.expect(lambda: story.node(old).last_applied >= goal, 1.0, "the follower's log")
    terms = {entry.term for entry in story.node(old).log}
    assert 1 <= len(set(refused)) <= len(terms) + 1
    return story


@cell("follower isolated", "R3")
def _(seed: int) -> Story:
    story = Story(seed)
    with story.nothing_changes():
        story.isolate(story.others(story.leader)[0])
        story.expect_service(20)
        story.heal()
        story.expect_service(20)
    return story


@cell("follower isolated", "R4")
def _(seed: int) -> Story:
    """A node that was removed while it was away disrupts nobody."""
    story = Story(seed)
    leader = story.leader
    removed = story.others(leader)[0]
    story.isolate(removed)
    with story.nothing_changes():
        story.tell(leader, ChangeMembership(remove=removed))
        story.expect_service()
        story.heal()
        story.run(20 * T)
    assert voters(story, leader) == set(story.others(removed))
    return story


# -- two halves that only one node joins, and a ring in which each hears its neighbours


def bridge(story: Story) -> None:
    """{0, 1} – 2 – {3, 4}."""
    story.part(*((a, b) for a in (0, 1) for b in (3, 4)))


def ring(story: Story) -> None:
    story.part(*((a, b) for a in range(5) for b in range(a) if (a - b) % 5 not in (1, 4)))


@cell("bridge", "R1")
def _(seed: int) -> Story:
    """The leader stays, or there are few more; the same in a ring of majorities."""
    for shape in (bridge, ring):
        story = Story(seed)
        term = story.node(story.leader).term
        shape(story)
        story.run(5.0)
        assert story.node(story.leader).term <= term + 2
    return story


@cell("bridge", "R2")
def _(seed: int) -> Story:
    """R: the far side has the whole log once it is healed."""
    story = Story(seed)
    bridge(story)
    story.expect_service(20)
    story.heal()
    story.expect(story.agree, 2.0, "equal logs")
    return story


@cell("bridge", "R3")
def _(seed: int) -> Story:
    """A core with a majority makes progress, in either shape (openraft #2080)."""
    for shape in (bridge, ring):
        story = Story(seed)
        shape(story)
        story.expect_service(50)
    return story


@cell("bridge", "R4")
def _(seed: int) -> Story:
    story = Story(seed)
    bridge(story)
    story.tell(story.leader, TransferLeadership(2))
    story.run(1.0)
    story.expect_service()
    return story
