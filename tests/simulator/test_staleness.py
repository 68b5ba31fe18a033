"""Which reads were stale, by the versions in their answers."""

from types import SimpleNamespace

from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Get, Put
from labkit.simulator.staleness import reads


def client(*calls):
    """Of (command, invoked, returned, version); what never returned has no version."""
    history = [Call(1, command, begin, end) for command, begin, end, _ in calls]
    return SimpleNamespace(history=history, stamps=[s for *_, end, s in calls if end is not None])


PUT, GET = Put("x", 1), Get("x")


def stale(*clients):
    return [old for _, old in reads(clients)]


def test_a_read_is_stale_if_a_newer_version_was_acknowledged_before_it_began():
    writer = client((PUT, 0.0, 1.0, (1, 0)), (PUT, 2.0, 4.0, (2, 0)))

    assert stale(writer, client((GET, 5.0, 6.0, (1, 0)))) == [True]
    assert stale(writer, client((GET, 3.0, 6.0, (1, 0)))) == [False]  # not acknowledged yet
    assert stale(writer, client((GET, 5.0, 6.0, (2, 0)))) == [False]
    assert stale(writer, client((GET, 0.5, 6.0, (0, -1)))) == [False]


def test_what_never_returned_counts_for_nothing():
    writer = client((PUT, 0.0, None, None), (GET, 1.0, None, None))

    assert stale(writer, client((GET, 5.0, 6.0, (0, -1)))) == [False]


def test_reads_come_in_the_order_in_which_they_began():
    late, early = client((GET, 5.0, 6.0, (0, -1))), client((GET, 1.0, 9.0, (0, -1)))

    assert [call.invoked for call, _ in reads([late, early])] == [1.0, 5.0]
