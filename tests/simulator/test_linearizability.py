"""The checker: on histories from papers, against brute force, and how fast it is."""

import itertools
import random
import time

import pytest

from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Append, CompareAndSet, Get, Put, execute
from labkit.simulator.linearizability import check

UNKNOWN = None


def put(client, value, begin, end, key="x"):
    return Call(client, Put(key, value), begin, end)


def get(client, result, begin, end, key="x"):
    return Call(client, Get(key), begin, end, result)


# -- histories of which the answer is known

LEGAL = {
    "no call at all": [],
    "a read while a write is under way may see it": [put(1, 1, 0, 9), get(2, 1, 1, 2)],
    "or not": [put(1, 1, 0, 9), get(2, None, 1, 2)],
    "first the old value, then the new": [
        put(1, 1, 0, 9),
        get(2, None, 1, 2),
        get(2, 1, 3, 4),
    ],
    "two writes at once, in an order that only the reads show": [
        put(1, 1, 0, 5),
        put(2, 2, 0, 5),
        get(3, 2, 6, 7),
        get(3, 2, 8, 9),
    ],
    "a write that never returned, seen much later": [
        put(1, 1, 0, UNKNOWN),
        get(2, None, 5, 6),
        get(2, 1, 7, 8),
    ],
    "a write that never returned, never seen": [put(1, 1, 0, UNKNOWN), get(2, None, 5, 6)],
    "equal times overlap": [put(1, 1, 0, 5), get(2, None, 5, 6)],
    "each read beside a write": [
        put(1, 1, 0, 3),
        put(2, 2, 2, 6),
        get(3, 1, 4, 5),
        get(3, 2, 7, 8),
    ],
    "each key by itself": [
        put(1, 1, 0, 1, "x"),
        put(2, 2, 0, 1, "y"),
        get(2, 1, 2, 3, "x"),
        get(1, 2, 2, 3, "y"),
    ],
}

ILLEGAL = {
    "a stale read": [put(1, 1, 0, 1), get(2, None, 2, 3)],
    "a value that nobody wrote": [put(1, 1, 0, 1), get(2, 7, 2, 3)],
    "a value before it is written": [get(2, 1, 0, 1), put(1, 1, 2, 3)],
    "the new value, then the old one again (ABD 1995, new-old inversion)": [
        put(1, 1, 0, 9),
        get(2, 1, 1, 2),
        get(3, None, 3, 4),
    ],
    "two readers see two writes in two orders": [
        put(1, 1, 0, 5),
        put(2, 2, 0, 5),
        get(3, 1, 6, 7),
        get(4, 2, 8, 9),
    ],
    "a write that never returned goes away again": [
        put(1, 1, 0, UNKNOWN),
        get(2, 1, 1, 2),
        get(2, None, 3, 4),
    ],
    "an append done twice": [
        Call(1, Append("x", "a"), 0, 1, "a"),
        get(2, "aa", 2, 3),
    ],
    "two compare-and-sets that both won": [
        put(1, 0, 0, 1),
        Call(2, CompareAndSet("x", 0, 1), 2, 5, True),
        Call(3, CompareAndSet("x", 0, 2), 2, 5, True),
    ],
}


@pytest.mark.parametrize("name", LEGAL)
def test_legal(name):
    history = LEGAL[name]

    verdict = check(history, execute)

    assert verdict, verdict.reason
    assert explains(verdict.order, history)


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal(name):
    assert not check(ILLEGAL[name], execute)


def test_a_verdict_names_the_call_that_has_no_place():
    history = [put(1, "new", 0, 1), get(7, "old", 2, 3.5)]

    verdict = check(history, execute)

    assert "client 7's Get(key='x') returned 'old' at 3.5000 s" in verdict.reason
    assert "1 of them" in verdict.reason
    assert "'new'" in verdict.reason
    assert str(verdict).startswith("not linearizable: ")
    assert str(check([], execute)) == "linearizable"


# -- thousands of small histories, against every order there is


def explains(order, history):
    """Whether an order explains every result, keeps real time, and leaves out no known call."""
    values = {}
    for call in order:
        key = call.command.key
        values[key], result = execute(values.get(key), call.command)
        if call.returned is not None and result != call.result:
            return False
    for a, b in itertools.combinations(order, 2):
        if b.returned is not None and b.returned < a.invoked and a.command.key == b.command.key:
            return False
    known = [call for call in history if call.returned is not None]
    return all(any(c is k for c in order) for k in known)


def possible(history):
    known = [call for call in history if call.returned is not None]
    unknown = [call for call in history if call.returned is None]
    return any(
        explains(order, history)
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *some])
    )


def drawn(draw, calls, keys=1):
    """A history that is legal about half of the time."""
    history = []
    for _ in range(calls):
        begin = draw.randrange(8)
        end = UNKNOWN if draw.random() < 0.2 else begin + 1 + draw.randrange(6)
        key, kind = f"k{draw.randrange(keys)}", draw.random()
        if kind < 0.4:
            call = Call(1, Put(key, draw.randrange(2)), begin, end)
        elif kind < 0.5:
            text = draw.choice(["a", "aa", "ba"])
            call = Call(1, Append(f"s{key}", "a"), begin, end, text)
        elif kind < 0.6:
            won = draw.random() < 0.5
            call = Call(
                1, CompareAndSet(key, draw.randrange(2), draw.randrange(2)), begin, end, won
            )
        else:
            call = Call(1, Get(key), begin, end, draw.choice([None, 0, 1]))
        history.append(call)
    return history


def test_small_histories_as_brute_force_finds_them():
    draw, legal = random.Random(1), 0
    for number in range(3000):
        history = drawn(draw, calls=2 + number % 5, keys=1 + number % 2)

        verdict = check(history, execute)

        assert bool(verdict) == possible(history), history
        assert not verdict or explains(verdict.order, history)
        legal += bool(verdict)
    assert 500 < legal < 2500


# -- long ones


def real(draw, calls, clients, keys, unknown=0.0):
    """What clients of a correct store would see: each call takes effect at a moment within it."""
    moments = []
    for client in range(clients):
        now = draw.random()
        for _ in range(calls // clients):
            begin = now + draw.expovariate(1)
            effect = begin + draw.random()
            end = effect + draw.random()
            key = f"k{draw.randrange(keys)}"
            command = Get(key) if draw.random() < 0.5 else Put(key, draw.randrange(5))
            lost = draw.random() < unknown
            moments.append((effect, Call(client, command, begin, UNKNOWN if lost else end), lost))
            now = end
    values = {}
    for _, call, lost in sorted(moments, key=lambda moment: moment[0]):
        if not lost or draw.random() < 0.5:
            key = call.command.key
            values[key], call.result = execute(values.get(key), call.command)
    return [call for _, call, _ in moments]


def test_a_thousand_calls_of_five_clients():
    history = real(random.Random(2), 1000, 5, 5)

    begin = time.perf_counter()
    verdict = check(history, execute)

    assert verdict
    assert explains(verdict.order, history)
    assert time.perf_counter() - begin < 1.0  # reference takes 0.02 s


def test_a_thousand_calls_with_one_wrong_read():
    history = real(random.Random(3), 1000, 5, 5)
    wrong = next(c for c in history[700:] if isinstance(c.command, Get))
    wrong.result = "never written"

    begin = time.perf_counter()
    verdict = check(history, execute)

    assert "never written" in verdict.reason
    assert time.perf_counter() - begin < 1.0  # reference takes 0.02 s
