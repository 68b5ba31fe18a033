"""Which reads returned an older value than one that had been acknowledged before they began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from labkit.protocols.clients import Client
from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Get

NOTHING = (0, -1)


def reads(clients: Iterable[Client]) -> Iterator[tuple[Call, bool]]:
    """Each read that returned, in the order in which they began, and whether it was stale.

    By the versions in the answers, which can be compared only if all are of one key.
    """
    done = [pair for client in clients for pair in stamped(client)]
    ends = sorted((c.returned or 0.0, stamp) for c, stamp in done if not isinstance(c.command, Get))
    newest, place = NOTHING, 0
    for call, stamp in sorted(done, key=lambda pair: pair[0].invoked):
        while place < len(ends) and ends[place][0] < call.invoked:
            newest, place = max(newest, ends[place][1]), place + 1
        if isinstance(call.command, Get):
            yield call, stamp < newest


def stamped(client: Client) -> Iterator[tuple[Call, tuple[int, int]]]:
    """The calls that returned, each with the version that it wrote or read."""
    answered = (call for call in client.history if call.returned is not None)
    return zip(answered, client.stamps, strict=True)
