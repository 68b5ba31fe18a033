"""The checker on histories in which many calls never returned."""

import random
import time

import pytest
from test_linearizability import UNKNOWN, explains, possible, real

from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Append, CompareAndSet, Get, Put, execute, notices
from labkit.simulator.linearizability import check


def entwined(draw, calls):
    """Half of the calls never returned, and any may be what explains another."""
    history = []
    for _ in range(calls):
        text, other = (
            draw.choice(["a", "b", "ab", "aa", ""]),
            draw.choice(["a", "b", "ab", "aa", None]),
        )
        begin, kind = draw.randrange(6), draw.random()
        end = UNKNOWN if draw.random() < 0.5 else begin + 1 + draw.randrange(5)
        if kind < 0.25:
            call = Call(1, Put("x", text), begin, end)
        elif kind < 0.55:
            result = draw.choice(["a", "b", "ab", "ba", "aa", "aab"])
            call = Call(1, Append("x", draw.choice("ab")), begin, end, result)
        elif kind < 0.75:
            call = Call(1, CompareAndSet("x", other, text), begin, end, draw.random() < 0.5)
        else:
            call = Call(1, Get("x"), begin, end, other)
        call.result = None if end is UNKNOWN else call.result
        history.append(call)
    return history


def test_small_histories_with_many_unknown_calls_as_brute_force_finds_them():
    draw, legal = random.Random(2), 0
    for number in range(3000):
        history = entwined(draw, calls=3 + number % 3)

        verdict = check(history, execute, notices=notices)

        assert bool(verdict) == possible(history), history
        assert not verdict or explains(verdict.order, history)
        legal += bool(verdict)
    assert 600 < legal < 2400


def test_many_calls_that_never_returned_do_not_make_it_slow():
    """Each of them may have happened at any time, or never: 2^150 possibilities."""
    history = real(random.Random(4), 1000, 5, 5, unknown=0.15)
    assert sum(call.returned is None for call in history) > 100

    begin = time.perf_counter()

    assert check(history, execute)
    assert time.perf_counter() - begin < 1.0  # reference takes 0.03 s


def long_unknown(draw, calls, unknown):
    """Five clients give up many calls, which take effect half a minute later, or never; each
    client's texts are its own, so that every order of them is another value."""
    moments = []
    for client in range(5):
        now = draw.random()
        for serial in range(calls // 5):
            begin = now + draw.expovariate(1)
            lost = draw.random() < unknown
            effect = begin + (draw.expovariate(1 / 30) if lost else draw.random())
            command = draw.choice([
                *(Get("x"), Get("x"), Append("x", f"{client}.{serial};")),
                *(Put("x", f"{serial}:"), CompareAndSet("x", f"{serial - 1}:", f"{serial}!")),
            ])  # fmt: skip
            end = effect + draw.random()
            moments.append((effect, Call(client, command, begin, UNKNOWN if lost else end), lost))
            now = begin + 1 if lost else end
    value = None
    for _, call, lost in sorted(moments, key=lambda moment: moment[0]):
        if not lost or draw.random() < 0.5:
            value, call.result = execute(value, call.command)
            call.result = None if lost else call.result
    return [call for _, call, _ in moments]


@pytest.mark.parametrize("right", [True, False], ids=["legal", "one wrong read"])
def test_a_hundred_long_unknown_appends_do_not_make_it_slow(right):
    """They have more than 100! orders, and without `notices` the search tries them."""
    history = long_unknown(random.Random(5), 300, unknown=0.4)
    assert sum(call.returned is None for call in history) > 100
    if not right:
        reads = [c for c in history if isinstance(c.command, Get) and c.returned is not None]
        reads[40].result = reads[80].result

    begin = time.perf_counter()
    verdict = check(history, execute, notices=notices)

    assert bool(verdict) == right
    assert time.perf_counter() - begin < 5.0  # reference takes 0.1 s; without, hours
