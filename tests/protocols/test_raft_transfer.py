"""Leadership that is handed over, by hand: Ongaro's thesis, §3.10."""

from __future__ import annotations

import pytest
from by_hand import answer, node, sent, settled

from labkit.protocols.effects import Send, deliver, fire
from labkit.protocols.raft.machine import Put
from labkit.protocols.raft.membership import ChangeMembership
from labkit.protocols.raft.messages import AppendEntries
from labkit.protocols.raft.sessions import ClientRequest
from labkit.protocols.raft.transfer import TimeoutNow, TransferLeadership


def test_the_target_is_asked_to_stand_once_it_has_the_whole_log() -> None:
    n = settled(n=3)
    list(n.propose(Put("x", 1)))

    early = deliver(n, 9, TransferLeadership(1))
    late = answer(n, 1)

    assert sent(early, TimeoutNow) == []
    assert Send(1, TimeoutNow(1)) in late


def test_the_target_stands_at_once_and_is_not_refused() -> None:
    target, other = node(me=1, term=1), node(me=2, term=1)
    for n in (target, other):
        deliver(n, 0, AppendEntries(1, 0, 0, (), 0, 1))

    (request,) = sent(deliver(target, 0, TimeoutNow(1)))
    (vote,) = sent(deliver(other, 1, request))

    assert request.transfer
    assert vote.granted


def test_meanwhile_nothing_new_is_begun() -> None:
    n = settled(n=3)
    deliver(n, 9, TransferLeadership(1))

    command = deliver(n, 1000, ClientRequest(1, Put("x", 1)))
    change = deliver(n, 9, ChangeMembership(remove=2))

    assert command == change == []
    assert n.last_index == 1


def test_after_a_time_out_the_leader_goes_on() -> None:
    n = settled(n=3)
    deliver(n, 9, TransferLeadership(1))

    fire(n, "transfer")
    deliver(n, 1000, ClientRequest(1, Put("x", 1)))

    assert n.last_index == 2


@pytest.mark.parametrize("target", [0, 3])
def test_it_is_not_handed_to_itself_nor_to_a_stranger(target: int) -> None:
    n = settled(n=3)

    assert deliver(n, 9, TransferLeadership(target)) == []


def test_a_late_request_to_stand_is_ignored() -> None:
    n = node(n=3, term=3)

    assert deliver(n, 0, TimeoutNow(2)) == []
    assert n.role == "follower"
