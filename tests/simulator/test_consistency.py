"""The four models: histories that tell them apart, and what must hold between them."""

import itertools
import random

import pytest

from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.consistency import CAUSAL, EVENTUAL, LINEARIZABLE, SEQUENTIAL, judge
from labkit.simulator.linearizability import check


def history(*clients):
    """Each client's calls one after the other, as `x=1`, `x:1`, `x:-`; a second each.

    A call `x=1?` never returns.
    """
    calls = []
    for client, text in enumerate(clients, start=1):
        for second, word in enumerate(text.split()):
            if word == ".":
                continue
            end = None if word.endswith("?") else second + 0.5
            key, sign, value = word[0], word[1], word[2:].rstrip("?")
            if sign == "=":
                calls.append(Call(client, Put(key, value), second, end))
            else:
                result = None if value == "-" else value
                calls.append(Call(client, Get(key), second, end, result))
    return calls


EXPECTED = {
    # what they do, and which of the four promises are kept
    "all read the last value": (("x=1 .", ". x:1"), "LSCE"),
    "a stale read, and never again another": (("x=1", ". x:-"), "SCE"),
    "one client reads its own write, the other does not yet": (("x=1 x:1", ". x:-"), "SCE"),
    # Ahamad et al. 1995, §2: causal memory is weaker than sequential consistency
    "two writes, seen in two orders": (("x=1", "x=2", ". x:1 x:2", ". x:2 x:1"), "CE"),
    "two keys, two readers, two orders": (("x=1", "y=1", ". x:1 y:-", ". y:1 x:-"), "CE"),
    "the effect without its cause": (("x=1", ". x:1 y=2", ". . . y:2 x:-"), "E"),
    "a client forgets what it wrote": (("x=1 x:-",), "E"),
    "a client reads new, then old": (("x=1", ". x:1 x:-"), "E"),
    "they never agree": (("x=1 . . . x:1 x:1", "x=2 . . . x:2 x:2"), "SC"),
    "one that never agrees and goes back": (("x=1 . . . x:-", ". . . . x:1"), ""),
    "a value that nobody wrote": (("x=1 . x:3",), ""),
    "a write that never returned, seen": (("x=1? . .", ". x:- x:1"), "LSCE"),
    "a write that never returned, seen and gone": (("x=1?", ". x:1 x:-"), "E"),
}

LETTERS = dict(zip("LSCE", (LINEARIZABLE, SEQUENTIAL, CAUSAL, EVENTUAL), strict=True))


@pytest.mark.parametrize("name", EXPECTED)
def test_which_promises_are_kept(name):
    calls, letters = EXPECTED[name]

    verdicts = judge(history(*calls), quiet=2.5)

    kept = {model for model, verdict in verdicts.items() if verdict}
    assert kept == {LETTERS[letter] for letter in letters}


def test_a_verdict_is_a_sentence():
    verdicts = judge(history("x=1", ". x:1 y=2", ". . . y:2 x:-"))

    assert str(verdicts[EVENTUAL]) == "eventual"
    assert str(verdicts[CAUSAL]).startswith("not causal: client 3 read x = None; no order ")
    assert "leaves x = '1'" in verdicts[CAUSAL].reason


def test_orders_prove_it():
    calls = history("x=1", ". x:-")

    (order,) = judge(calls)[SEQUENTIAL].orders

    assert order == (calls[1], calls[0])


def test_a_value_that_is_written_twice_has_no_one_cause():
    with pytest.raises(ValueError, match="'1' is written to 'x' twice"):
        judge(history("x=1 x=1 x:1"))


# -- on thousands of small histories


def drawn(draw):
    """Two clients of two or three calls each, two keys; no value is written twice."""
    calls, value = [], 0
    for client in range(2):
        now = 0.0
        for _ in range(draw.choice((2, 2, 3))):
            begin = now + 0.5 + draw.randrange(3)
            now = begin + 1 + draw.randrange(3)
            key = draw.choice("xy")
            if draw.random() < 0.5:
                value += 1
                end = None if draw.random() < 0.15 else now
                calls.append(Call(client, Put(key, value), begin, end))
            else:
                calls.append(Call(client, Get(key), begin, now, draw.choice((None, None, 1, 2))))
    return calls


def one_order(calls, allowed):
    """Whether some order of the returned calls and some of the others explains all results."""
    known = [call for call in calls if call.returned is not None]
    unknown = [call for call in calls if call.returned is None]
    return any(
        explains(order, allowed)
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *some])
    )


def explains(order, allowed):
    values = {}
    for call in order:
        key = call.command.key
        values[key], result = execute(values.get(key), call.command)
        if call.returned is not None and result != call.result:
            return False
    return all(allowed(a, b) for a, b in itertools.combinations(order, 2))


def in_program_order(a, b):
    return not (a.client == b.client and b.returned is not None and b.invoked < a.invoked)


def test_small_histories_as_brute_force_finds_them():
    draw, kept = random.Random(1), dict.fromkeys(LETTERS.values(), 0)
    for _ in range(2000):
        calls = drawn(draw)

        verdicts = judge(calls)

        assert bool(verdicts[LINEARIZABLE]) == bool(check(calls, execute))
        assert bool(verdicts[SEQUENTIAL]) == one_order(calls, in_program_order)
        # Each model promises what the next one does, and something more.
        assert verdicts[SEQUENTIAL] or not verdicts[LINEARIZABLE]
        assert verdicts[CAUSAL] or not verdicts[SEQUENTIAL]
        for model, verdict in verdicts.items():
            kept[model] += bool(verdict)
    assert 0 < kept[LINEARIZABLE] < kept[SEQUENTIAL] < kept[CAUSAL] < 2000


def causal_by_definition(calls):
    """Ahamad et al. 1995, §2.2, word by word: program order, writes-into, transitivity, views."""
    pairs = {
        (i, j)
        for (i, a), (j, b) in itertools.permutations(enumerate(calls), 2)
        if (a.client == b.client and a.returned is not None and a.invoked < b.invoked)
        or (
            isinstance(a.command, Put)
            and isinstance(b.command, Get)
            and (a.command.key, a.command.value) == (b.command.key, b.result)
        )
    }
    while more := {(i, k) for i, j in pairs for j2, k in pairs if j == j2} - pairs:
        pairs |= more
    place = {id(call): i for i, call in enumerate(calls)}

    def allowed(a, b):
        return (place[id(b)], place[id(a)]) not in pairs

    return all(
        one_order([c for c in calls if c.client == p or isinstance(c.command, Put)], allowed)
        for p in {call.client for call in calls}
    ) and all((i, i) not in pairs for i in range(len(calls)))


def test_small_histories_as_the_definition_of_causal_memory_has_them():
    draw = random.Random(2)
    for _ in range(1000):
        calls = drawn(draw)
        assert bool(judge(calls)[CAUSAL]) == causal_by_definition(calls), calls
