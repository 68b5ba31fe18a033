"""The store through which a group forms: what it keeps of whom."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from labkit.runtime.messages import StoreReply, StoreRequest
from labkit.runtime.store import KEPT_EPOCHS, StoreServer, WireStore


def asks(server: StoreServer, epoch: str) -> WireStore:
    """A store as a member of that epoch's group sees it."""

    def ask(request: StoreRequest) -> Future[StoreReply]:
        answer: Future[StoreReply] = Future()
        server.handle(request, answer.set_result)
        return answer

    return WireStore(ask, epoch, seconds=0.05)


@pytest.mark.case(23)
def test_keys_of_an_earlier_group_are_not_seen() -> None:
    server = StoreServer()
    before, now = asks(server, "run 1, view 1"), asks(server, "run 1, view 2")
    before.set("rank 0", "an address of the dead")
    before.add("arrived", 4)

    with pytest.raises(TimeoutError, match="view 2 had no rank 0 within"):
        now.get("rank 0")
    assert now.add("arrived", 1) == 1
    assert (before.num_keys(), now.num_keys()) == (2, 1)


def test_old_groups_are_forgotten_with_all_who_wait_in_them() -> None:
    server = StoreServer()
    for number in range(KEPT_EPOCHS + 1):
        store = asks(server, f"view {number}")
        store.set("key", "value")
        with pytest.raises(TimeoutError):
            store.get("another")

    assert list(server.epochs) == [f"view {number}" for number in range(1, KEPT_EPOCHS + 1)]
    assert [waiting.request.epoch for waiting in server.waiting] == list(server.epochs)
