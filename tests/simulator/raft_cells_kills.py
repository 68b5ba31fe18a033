"""Raft's fault matrix: nodes that die: a leader, a follower, a majority."""

from __future__ import annotations

from raft_cells import cell, voters, write_in_vain
from raft_story import Story, T

from labkit.protocols.raft.election import CANDIDATE, FOLLOWER
from labkit.protocols.raft.membership import ChangeMembership

# -- kill the leader, or the candidate after it


@cell("kill leader", "R1")
def _(seed: int) -> Story:
    """E, also when the first candidate dies as well."""
    story = Story(seed)
    story.kill(story.leader)
    alive = [i for i in story.everybody if story.sim.alive(i)]
    story.expect(lambda: any(story.node(i).role == CANDIDATE for i in alive), 10 * T, "a candidate")
    story.kill(next(i for i in alive if story.node(i).role == CANDIDATE))
    story.expect_leader()
    return story


@cell("kill leader", "R2")
def _(seed: int) -> Story:
    """E; an entry that was not committed is kept or dropped, never both."""
    story = Story(seed)
    old = story.leader
    story.isolate(old, story.others(old)[0])
    index, term = write_in_vain(story, old)
    story.run(0.02)
    story.kill(old)
    story.heal()
    story.expect_leader(but=old)
    story.restart(old)
    story.peace()
    assert len({story.in_log(i, index, term) for i in story.everybody}) == 1
    return story


@cell("kill leader", "R3")
def _(seed: int) -> Story:
    """E; what was committed survives, and so does what clients know."""
    story = Story(seed)
    old = story.leader
    known = dict(story.node(old).sessions)
    story.kill(old)
    new = story.expect_leader(but=old)
    story.expect_service()
    assert all(story.node(new).sessions[client] >= known[client] for client in known)
    return story


@cell("kill leader", "R4")
def _(seed: int) -> Story:
    """The old configuration or the new one, the same for all; E."""
    story = Story(seed)
    old = story.leader
    story.tell(old, ChangeMembership(remove=story.others(old)[0]))
    assert len(voters(story, old)) == 4
    story.kill(old)
    new = story.expect_leader(but=old)
    story.expect_service()
    story.peace()
    assert {len(voters(story, i)) for i in voters(story, new)} <= {4, 5}
    assert len({tuple(story.node(i).voters) for i in voters(story, new)}) == 1
    return story


# -- kill followers, and a majority is left


@cell("kill follower", "R1")
def _(seed: int) -> Story:
    story = Story(seed)
    with story.nothing_changes():
        story.kill(*story.others(story.leader)[:2])
        story.run(3.0)
    return story


@cell("kill follower", "R2")
def _(seed: int) -> Story:
    """N; matchIndex stands still and follows on the return."""
    story = Story(seed)
    follower = story.others(story.leader)[0]
    with story.nothing_changes():
        story.kill(follower)
        story.run(0.02)
        match = story.node(story.leader).match_index[follower]
        story.expect_service(20)
        assert story.node(story.leader).match_index[follower] == match
        story.restart(follower)
        goal = story.node(story.leader).last_index
        story.expect(lambda: story.node(follower).last_index >= goal, 1.0, "the follower's log")
    return story


@cell("kill follower", "R3")
def _(seed: int) -> Story:
    story = Story(seed)
    with story.nothing_changes():
        story.kill(*story.others(story.leader)[:2])
        story.expect_service(30)
    return story


@cell("kill follower", "R4")
def _(seed: int) -> Story:
    """Of five voters two are dead; without one of the dead it is three of four, and not two."""
    story = Story(seed)
    leader = story.leader
    first, second, third, _ = story.others(leader)
    story.kill(first, second)
    story.tell(leader, ChangeMembership(remove=first))
    story.expect_service()
    assert voters(story, leader) == set(story.others(first))
    story.kill(third)
    story.expect_standstill(grace=2 * T)
    story.restart(third)
    story.expect_service()
    return story


# -- kill a majority


@cell("kill majority", "R1")
def _(seed: int) -> Story:
    """U: nobody wins."""
    story = Story(seed)
    story.kill(story.leader, *story.others(story.leader)[:2])
    story.run(20 * T)
    assert story.sim.leader() is None
    return story


@cell("kill majority", "R2")
def _(seed: int) -> Story:
    """U; what the leader could not replicate is there when the others come back."""
    story = Story(seed)
    leader = story.leader
    story.kill(*story.others(leader)[:3])
    write_in_vain(story, leader)
    story.expect_standstill(grace=0.02)
    assert story.node(leader).role == FOLLOWER
    return story


@cell("kill majority", "R3")
def _(seed: int) -> Story:
    """U; nothing more is committed."""
    story = Story(seed)
    story.kill(*story.others(story.leader)[:3])
    story.run(0.02)
    before = story.committed()
    story.expect_standstill()
    assert story.committed() == before
    return story


@cell("kill majority", "R4")
def _(seed: int) -> Story:
    """U; a majority of the new configuration is none either. R after their restart."""
    story = Story(seed)
    leader = story.leader
    dead = story.others(leader)[:3]
    story.kill(*dead)
    story.tell(leader, ChangeMembership(remove=dead[0]))
    story.expect_standstill(grace=0.02)
    story.restart(*dead)
    story.expect_leader()
    story.expect_service()
    return story
