"""What the faults in force do to messages, and how a rank that waits for one leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from labkit import faults
from labkit.collectives import Abandoned
from labkit.collectives.links.memory import memory_links


@pytest.fixture
def conditions(monkeypatch: pytest.MonkeyPatch) -> Iterator[faults.Conditions]:
    fresh = faults.Conditions(seed=1)
    monkeypatch.setattr(faults, "conditions", fresh)
    yield fresh
    fresh.apply(faults.Heal())


def test_a_cut_link_holds_the_sender_until_it_heals(conditions: faults.Conditions) -> None:
    a, b = memory_links(2)
    a.members = b.members = (4, 7)  # faults speak of the cluster's ranks
    conditions.apply(faults.Cut(4, 7))
    b.send(torch.ones(1), 0)  # the other way is open
    a.receive(torch.zeros(1), 1)
    sender = threading.Thread(target=a.send, args=(torch.ones(1), 1), daemon=True)
    sender.start()
    assert not b.mail[0, 1]
    conditions.apply(faults.Heal())
    b.receive(torch.zeros(1), 0)
    sender.join(10)
    assert not sender.is_alive()


def test_a_sender_that_is_held_can_leave(conditions: faults.Conditions) -> None:
    a, _ = memory_links(2)
    outcome: list[BaseException] = []
    for fault in (faults.Cut(0, 1), faults.Delay(0, 1, 1000.0), faults.Drop(0, 1, 1.0)):
        conditions.apply(faults.Heal())
        conditions.apply(fault)
        a._abandoned.clear()

        def send() -> None:
            try:
                a.send(torch.ones(1), 1)
            except Abandoned as error:
                outcome.append(error)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        a.abandon()
        thread.join(10)
        assert not thread.is_alive()
    assert len(outcome) == 3


def test_a_delay_and_a_loss_make_messages_late(
    conditions: faults.Conditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = memory_links(2)
    slept: list[float] = []
    monkeypatch.setattr(a._abandoned, "wait", slept.append)
    conditions.apply(faults.Delay(0, 1, 0.25))
    a.send(torch.ones(1), 1)
    assert slept == [0.25]
    slept.clear()
    conditions.apply(faults.Heal())
    conditions.apply(faults.Drop(0, 1, 0.5))
    for _ in range(200):
        a.send(torch.ones(1), 1)
    assert set(slept) == {0.2}
    assert 120 < len(slept) < 300, "half of the messages are lost, and again half of those"
    assert len(b.mail[0, 1]) == 201, "a reliable stream loses nothing"


def test_abandoning_frees_a_receiver() -> None:
    link = memory_links(2)[0]
    outcome: list[BaseException] = []

    def receive() -> None:
        try:
            link.receive(torch.zeros(1), 1)
        except Abandoned as error:
            outcome.append(error)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    link.abandon()
    thread.join(10)
    assert "form a new one" in str(outcome[0])
    with pytest.raises(Abandoned):
        link.send(torch.ones(1), 1)
