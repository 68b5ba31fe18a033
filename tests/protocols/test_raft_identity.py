"""An id is used only once: a node that has lost its disk is another voter, or none."""

from __future__ import annotations

from typing import Any

from by_hand import answer, leader, node, sent, settled
from test_raft_membership import admit

from labkit.protocols.effects import Context, deliver, fire, start
from labkit.protocols.raft import Raft
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.messages import Appended, AppendEntries, RequestVote
from labkit.protocols.raft.pre_vote import PreVoted, RequestPreVote


def wiped(me: int = 1, n: int = 3) -> Any:
    made = Raft(me, tuple(range(n)), Context(1.0), {})
    start(made)
    return made


def test_a_disk_that_is_empty_gets_an_identity_of_its_own_and_keeps_it() -> None:
    made = Raft(1, (0, 1, 2), Context(1.0), {})

    (persist, *_) = start(made)

    assert persist.values == {"identity": made.identity}
    assert made.identity > 0


def test_the_vote_of_a_node_that_has_lost_its_disk_does_not_count() -> None:
    n = node(n=3, pre_vote=False)
    fire(n, "election")

    (vote,) = sent(deliver(wiped(), 0, RequestVote(1)))
    deliver(n, 1, vote)

    assert vote.granted
    assert n.role == "candidate"


def test_nor_does_its_pre_vote() -> None:
    n = node(n=3)
    fire(n, "election")

    (answer,) = sent(deliver(wiped(), 0, RequestPreVote(1, 0, 0)), PreVoted)
    deliver(n, 1, answer)

    assert answer.granted
    assert n.term == 0


def test_nor_does_what_it_acknowledges() -> None:
    """Else an old leader, which does not know of a newer one, could commit with its help: the
    newer one was elected by the very vote that the node has forgotten."""
    n = leader(n=3)
    empty = wiped()
    (request,) = sent(fire(n, "beat"), AppendEntries)

    (answer,) = sent(deliver(empty, 0, request), Appended)
    deliver(n, 1, answer)

    assert answer.success
    assert n.commit_index == 0


def test_a_node_without_its_disk_does_not_stand() -> None:
    assert sent(fire(wiped(), "election")) == []


def test_a_node_that_has_lost_its_disk_can_come_back_as_a_new_voter() -> None:
    n = settled(n=3)
    deliver(n, 9, ChangeMembership(remove=1))
    answer(n, 2)

    admit(n, 1, identity=7)
    answer(n, 1)

    assert n.voters == {0: 0, 1: 7, 2: 0}
    assert n.commit_index == n.last_index
