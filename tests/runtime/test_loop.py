"""The event loop of hosts and driver: what is done first."""

from __future__ import annotations

import socket
import threading
import time

from labkit.runtime.loop import Loop


def test_what_has_come_is_read_before_a_timer_takes_it_for_silence() -> None:
    """The loop stands still, as a thread without a core does; meanwhile a beat comes, and the time
    in which it had to come is over."""
    loop, done = Loop("test"), threading.Event()
    here, there = socket.socketpair()
    order: list[str] = []

    def read(mask: int) -> None:
        here.recv(64)
        order.append("beat")

    def judge() -> None:
        order.append("silence is judged")
        done.set()

    def stand_still() -> None:
        loop.call_later(0.01, judge)
        there.send(b"beat")
        time.sleep(0.05)

    loop.start()
    with here, there:
        loop.call(lambda: loop.watch(here, read))
        loop.call(stand_still)
        assert done.wait(10)
        loop.stop()

    assert order == ["beat", "silence is judged"]


def test_what_wakes_nobody_is_read_before_a_timer_too() -> None:
    loop, done = Loop("test"), threading.Event()
    order: list[str] = []

    def judge() -> None:
        order.append("silence is judged")
        done.set()

    loop.start()
    loop.call(lambda: loop.before_timers(lambda: order.append("datagrams")))
    loop.call(lambda: loop.call_later(0.01, judge))
    assert done.wait(10)
    loop.stop()

    assert order[-2:] == ["datagrams", "silence is judged"]
