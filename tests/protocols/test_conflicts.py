"""One conflict and three ways out; what a merge must be, whatever the copies are."""

import random

import pytest

from labkit.protocols.conflicts import Counter, LastWrite, ObservedRemove, Siblings, known

KINDS = [LastWrite, Siblings, ObservedRemove]


def conflict(kind):
    """Both know n7. The left adds n12, and a second later the right takes n7 away."""
    both = kind().add("n7", node=0, time=1.0)
    left = both.add("n12", node=0, time=2.0)
    right = both.remove("n7", node=1, time=3.0)
    return left, right


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (LastWrite, set()),  # the later write wins, and n12 is lost
        (Siblings, {"n7", "n12"}),  # nothing is lost; n7 is back (Dynamo, §4.4)
        (ObservedRemove, {"n12"}),  # what both meant
    ],
)
def test_one_conflict_three_answers(kind, names):
    left, right = conflict(kind)

    assert left.merge(right).names == names
    assert right.merge(left).names == names


def test_siblings_are_kept_until_somebody_unites_them():
    left, right = conflict(Siblings)

    both = left.merge(right)
    united = both.remove("n7", node=1, time=4.0)

    assert [set(version.names) for version in both.versions] == [set(), {"n7", "n12"}]
    assert len(united.versions) == 1
    assert united.merge(left) == united.merge(right) == united


def test_what_happened_before_is_no_sibling():
    first = Siblings().add("a", node=0, time=1.0)

    second = first.add("b", node=1, time=2.0)

    assert known(first.versions[0].clock, second.versions[0].clock)
    assert first.merge(second) == second.merge(first) == second


def test_clocks_of_concurrent_changes_know_nothing_of_each_other():
    left, right = conflict(Siblings)

    a, b = left.versions[0].clock, right.versions[0].clock

    assert not known(a, b)
    assert not known(b, a)


def test_an_addition_that_a_removal_had_not_seen_stays():
    """Shapiro et al., INRIA RR-7506 (2011), §3.3.5: of add and remove at one time, add wins."""
    both = ObservedRemove().add("n7", node=0, time=1.0)

    left = both.add("n7", node=0, time=2.0)
    right = both.remove("n7", node=1, time=3.0)

    assert left.merge(right).names == {"n7"}
    assert left.merge(right).remove("n7", node=1, time=4.0).merge(left).names == set()


def test_a_tie_of_times_is_broken_by_the_node():
    a, b = LastWrite().add("a", 0, 1.0), LastWrite().add("b", 1, 1.0)

    assert a.merge(b) == b.merge(a) == b


def test_counts_of_both_sides_are_added_once():
    both = Counter().add(100, node=0).add(50, node=1)

    left, right = both.add(3, node=0), both.add(5, node=1)

    assert left.merge(right).total == right.merge(left).merge(left).total == 158


def drawn(kind, draw):
    """Four copies that changed and met at random, each node changing its own."""
    copies = [kind() for _ in range(4)]
    for time in range(12):
        node, name = draw.randrange(4), draw.choice("abc")
        copy = copies[node]
        change = copy.add if draw.random() < 0.6 else copy.remove
        copies[node] = change(name, node=node, time=float(time))
        other = draw.randrange(4)
        copies[other] = copies[other].merge(copies[draw.randrange(4)])
    return copies


@pytest.mark.parametrize("kind", KINDS)
def test_in_whatever_order_copies_meet_they_end_equal(kind):
    draw = random.Random(1)
    for _ in range(300):
        copies = drawn(kind, draw)
        a, b, c, _ = copies

        assert a.merge(b) == b.merge(a)
        assert a.merge(b).merge(c) == a.merge(b.merge(c))
        assert a.merge(a) == a
        assert a.merge(b).merge(b) == a.merge(b)
