"""The pictures of notebook 12: legible, small, and with the marks that their data have."""

import pytest
from pictures import assert_legible, gids, with_gid, words

from labkit.protocols.raft.client import Call
from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.linearizability import check
from labkit.views.operations import operations, points, said
from labkit.views.replication import ANSWERED, SILENT, STALE, answers, copies_over_time, quorums

WRITE = Call(1, Put("x", 1), 0.0, 2.0)
EARLY = Call(2, Get("x"), 0.5, 1.0, None)
SEEN = Call(2, Get("x"), 1.2, 1.6, 1)
OLD = Call(3, Get("x"), 1.8, 3.0, None)
UNKNOWN = Call(3, Put("x", 2), 3.5)
LOST = Call(1, Get("x"), 2.5)
LEGAL, ILLEGAL = [WRITE, EARLY, SEEN, UNKNOWN, LOST], [WRITE, EARLY, SEEN, OLD]
SAMPLES = [(0.0, (0, 0, 0, 8)), (1.0, (0, 1, 3, 4)), (2.0, (0, 0, 2, 6)), (3.0, (0, 0, 0, 8))]
ROWS = {"one side": [(0.1, ANSWERED), (1.1, SILENT)], "other side": [(0.1, ANSWERED), (1.2, STALE)]}

PICTURES = {
    "legal": lambda: operations(LEGAL, "Legal", check(LEGAL, execute)),
    "illegal": lambda: operations(ILLEGAL, "Illegal", check(ILLEGAL, execute), {1: "writer"}),
    "with a fault": lambda: operations(LEGAL, "Cut", None, None, [(0.4, 1.5, "a cut")]),
    "one call": lambda: operations([WRITE], "One"),
    "quorums": lambda: quorums(5, [(3, 3), (2, 3), (1, 5)], "Three settings"),
    "one quorum": lambda: quorums(3, [(2, 2)], "One"),
    "copies": lambda: copies_over_time(SAMPLES, [(0, 0.5, 0.6)], [(0.9, "lost")], "Copies"),
    "copies alone": lambda: copies_over_time(SAMPLES, title="Copies"),
    "two losses": lambda: copies_over_time(SAMPLES, (), [(0.9, "one"), (1.0, "two")], "Copies"),
    "answers": lambda: answers(ROWS, (1.0, 2.0), "Who is answered"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_legible_and_small(name):
    figure = PICTURES[name]()

    assert_legible(figure)
    assert len(figure.png()) < 60_000


def texts(figure):
    return [text for text, _ in words(figure)]


def test_a_legal_history_shows_an_order_and_an_illegal_one_the_call_without_a_place():
    legal, illegal = PICTURES["legal"](), PICTURES["illegal"]()

    (order,) = with_gid(legal, "effect")
    assert len(order.get_xdata()) == 3  # of the calls that never returned none is needed
    assert not with_gid(legal, "stuck")
    assert len(with_gid(illegal, "stuck")) == 1
    assert not with_gid(illegal, "effect")
    assert "writer" in texts(illegal)


def test_every_point_lies_within_its_call_and_after_the_one_before():
    order = check(LEGAL, execute).order

    for gap in (0.0, 0.1, 5.0):
        times = points(order, gap)
        assert times == sorted(times)
        for call, time in zip(order, times, strict=True):
            assert call.invoked <= time <= call.returned


def test_calls_in_words():
    assert [said(call) for call in (WRITE, EARLY, SEEN, LOST)] == [
        "x = 1",
        "x → ∅",
        "x → 1",
        "x → ?",
    ]
    assert "x → no answer" in texts(PICTURES["legal"]())
    assert "x = 2 no answer" in texts(PICTURES["legal"]())


def test_quorums_that_meet_say_so():
    seen = texts(PICTURES["quorums"]())

    assert seen.count("1 in common") == 2
    assert seen.count("they may miss each other") == 1
    assert "R 2 + W 3 = N 5" in seen


def test_levels_and_marks():
    assert gids(PICTURES["copies"](), "copies:") == [f"copies:{level}" for level in range(4)]
    assert {"1 copy", "2 copies", "3 copies"} <= set(texts(PICTURES["copies"]()))
    assert "0 copies" not in texts(PICTURES["copies"]())
    marks = {kind: sum(len(m.get_xdata()) for m in with_gid(PICTURES["answers"](), kind))
             for kind in (ANSWERED, STALE, SILENT)}  # fmt: skip
    assert marks == {ANSWERED: 2, STALE: 1, SILENT: 1}
