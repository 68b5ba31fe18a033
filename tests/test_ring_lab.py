"""What notebook 02 stands on: traces of what an algorithm did, slow cables, its checks."""

import threading
import time

import pytest
import torch

from labkit.check import judge
from labkit.collectives import halving_doubling, naive, ring, tree
from labkit.collectives.links.cable import Cable
from labkit.collectives.links.memory import memory_links
from labkit.collectives.stopwatch import curves
from labkit.collectives.trace import Stuck, content, dyed, trace, written
from labkit.views.costs import choices, cost_curves, cost_sliders
from labkit.views.ring_pictures import SCENES, collectives_in_pictures, played, steps_of

SIZES = [(1, 1), (2, 5), (3, 2), (4, 4), (5, 17), (8, 8)]


def ring_all_reduce(link, chunks):
    ring.reduce_scatter(link, chunks, "sum")
    ring.all_gather(link, chunks)


def of_all(n, chunk):
    return {(rank, chunk): 1 for rank in range(n)}


# ---- traces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "elements"), SIZES)
def test_a_ring_ends_with_all_parts_once_everywhere(n, elements):
    seen = trace(ring_all_reduce, n, elements)
    whole = [of_all(n, c) if seen.lengths[c] else {} for c in range(n)]
    assert sum(seen.lengths) == elements
    assert seen.states[-1] == [whole] * n


def test_a_trace_says_who_sent_which_chunk_in_which_round():
    n = 4
    seen = trace(ring_all_reduce, n)
    assert seen.rounds == 2 * (n - 1)
    for m in seen.messages:
        assert m.target == (m.source + 1) % n
        first = m.source - 1 if m.round < n - 1 else m.source + n - 1
        assert m.slot == (first - m.round) % n
    half = seen.states[n - 1]
    assert [half[r][r] for r in range(n)] == [of_all(n, r) for r in range(n)]


@pytest.mark.parametrize(
    ("algorithm", "rounds"), [(naive, 2), (tree, 2 * 3), (halving_doubling, 2 * 3), (ring, 2 * 7)]
)
def test_rounds_count_the_messages_one_after_the_other(algorithm, rounds):
    def run(link, chunks):
        algorithm.all_reduce(link, torch.cat(chunks), "sum")

    assert trace(run, 8).rounds == rounds


def test_a_part_that_is_in_it_twice_or_in_the_wrong_slot_shows():
    def wrong(link, chunks):
        incoming = chunks[0].clone()
        link.transfer(sends=[(chunks[1], link.right)], receives=[(incoming, link.left)]).wait()
        chunks[0] += 2 * incoming

    end = trace(wrong, 2).states[-1]
    assert end[0][0] == {(0, 0): 1, (1, 1): 2}
    assert written(end[0][0]) == "chunk 0 of rank 0 + chunk 1 of ranks 1, 1"


def test_memory_that_nobody_filled_shows():
    chunk = dyed(0, 2, [2, 2])[0]
    assert content(chunk, 2) == {(0, 0): 1}
    assert content(torch.full_like(chunk, 0.5), 2) is None
    chunk[-1] = 7
    assert content(chunk, 2) is None  # its elements differ
    assert written(None) == "memory that nobody filled"


def test_ranks_that_wait_for_each_other_are_told_at_once():
    def receive_first(link, chunks):
        link.receive(chunks[0], link.left)
        link.send(chunks[1], link.right)

    with pytest.raises(Stuck, match="0 for 2, 1 for 0, 2 for 1"):
        trace(receive_first, 3)


def test_the_error_of_a_rank_comes_before_those_that_it_left_waiting():
    def fails(link, chunks):
        if link.rank == 2:
            raise ZeroDivisionError("mine")
        link.receive(chunks[0], 2)

    with pytest.raises(ZeroDivisionError, match="mine"):
        trace(fails, 4)


def test_an_endless_loop_of_messages_ends():
    def forever(link, chunks):
        while True:
            take = chunks[1].clone()
            link.transfer(sends=[(chunks[0], link.right)], receives=[(take, link.left)]).wait()

    with pytest.raises(RuntimeError, match="goes on"):
        trace(forever, 3)


def test_a_receiver_that_makes_no_room_is_told():
    def short(link, chunks):
        take = chunks[0][:-1].clone()
        link.transfer(sends=[(chunks[0], link.right)], receives=[(take, link.left)]).wait()

    with pytest.raises(ValueError, match="makes room for"):
        trace(short, 3)


def test_a_trace_has_its_limits():
    with pytest.raises(ValueError, match="1 to 8"):
        trace(ring_all_reduce, 9)


# ---- the textbook's table ----------------------------------------------------------------------


def test_the_four_gpu_table_ends_with_one_part_in_every_slot_and_nobody_disagrees():
    def as_the_table_says(link, chunks):
        ring.reduce_scatter(link, chunks, "sum")
        for step in range(link.size - 1):
            give, take = (chunks[(link.rank - 1 - step - k) % link.size] for k in (0, 1))
            link.transfer(sends=[(give, link.right)], receives=[(take, link.left)]).wait()

    end = trace(as_the_table_says, 4).states[-1]
    assert all(row == end[0] for row in end)
    assert [dict(held) for held in end[0]] == [{((c + 1) % 4, c): 1} for c in range(4)]


# ---- cables ------------------------------------------------------------------------------------


def on_cables(n, task, latency, bandwidth):
    """The seconds that `task(link)` takes on each of n ranks."""
    links = [Cable(link, latency, bandwidth) for link in memory_links(n)]
    seconds = [0.0] * n

    def run(rank):
        begin = time.perf_counter()
        task(links[rank])
        seconds[rank] = time.perf_counter() - begin

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return seconds, links


def test_a_cable_takes_its_latency_and_its_bytes_and_changes_nothing_else():
    tensors = [torch.arange(8.0) for _ in range(4)]
    seconds, links = on_cables(
        4, lambda link: ring.all_reduce(link, tensors[link.rank], "sum"), 0.01, 1600.0
    )
    assert all(torch.equal(tensor, 4 * torch.arange(8.0)) for tensor in tensors)
    # 6 steps of 8 bytes: 6 x (10 ms + 5 ms); never less, whatever else the machine does
    assert min(seconds) >= 0.09
    assert [link.traffic.sent_bytes for link in links] == [48] * 4


def test_a_cable_sends_the_messages_of_a_transfer_one_after_the_other():
    def task(link):
        tensor = torch.zeros(2)
        naive.gather(link, tensor, 0)

    seconds, _ = on_cables(4, task, 0.0, 800.0)
    assert seconds[0] >= 0.03  # three tensors of 8 bytes come in through one card
    assert min(seconds[1:]) >= 0.01


def test_a_cable_can_be_abandoned():
    links = [Cable(link, 0.0, 1e9) for link in memory_links(2)]
    raised = []

    def wait():
        try:
            links[0].receive(torch.zeros(1), 1)
        except RuntimeError as error:
            raised.append(type(error).__name__)

    thread = threading.Thread(target=wait)
    thread.start()
    links[0].abandon()
    thread.join(10)
    assert raised == ["Abandoned"]


# ---- checks and pictures -----------------------------------------------------------------------


def test_a_deadlock_is_a_sentence():
    def receive_first(link, chunks):
        for _ in range(link.size - 1):
            link.receive(chunks[link.left].clone(), link.left)
            link.send(chunks[link.rank], link.right)

    assert "nobody sends" in judge("ring.1", receive_first).sentence


def test_to_the_left_is_not_a_ring_to_the_right():
    def leftwards(link, chunks):
        for step in range(link.size - 1):
            give, take = (chunks[(link.rank + 1 + step + k) % link.size] for k in (0, 1))
            incoming = take.clone()
            link.transfer(sends=[(give, link.left)], receives=[(incoming, link.right)]).wait()
            take += incoming

    verdict = judge("ring.1", leftwards)
    assert verdict.passed is False
    assert "to rank" in verdict.sentence


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_collectives_do_what_their_pictures_say(scene, n):
    before, after = played(scene, n)
    everyone = [[frozenset(of_all(n, c)) for c in range(n)] for _ in range(n)]
    none, diagonal = frozenset(), [[r == c for c in range(n)] for r in range(n)]
    wanted = {
        "broadcast": [before[0]] * n,
        "scatter": [
            [frozenset({(0, c)}) if diagonal[r][c] else none for c in range(n)] for r in range(n)
        ],
        "gather": [[frozenset({(c, c)}) for c in range(n)]] + [[none] * n] * (n - 1),
        "all-gather": [[frozenset({(c, c)}) for c in range(n)]] * n,
        "reduce": [everyone[0]] + [[none] * n] * (n - 1),
        "reduce-scatter": [
            [everyone[r][c] if diagonal[r][c] else none for c in range(n)] for r in range(n)
        ],
        "all-reduce": everyone,
    }
    assert after == wanted[scene.name]


@pytest.mark.parametrize("n", [2, 4, 8])
def test_pictures_are_small_enough_to_be_stored(n):
    assert len(collectives_in_pictures(n).png()) < 60_000
    assert len(steps_of(ring_all_reduce, min(n, 4)).png()) < 60_000


def test_the_map_of_choices_counts_the_cheaper_ones():
    rows = [(8, 1e6, 1e-5, 1e-9, "ring", "ring"), (8, 10.0, 1e-5, 1e-9, "tree", "ring")]
    assert choices(rows).axes[0].get_title(loc="left").startswith("1 of 2")


def test_cost_curves_say_where_the_ring_begins_to_pay():
    title = cost_curves(1_024, 14, 50).axes[0].get_title(loc="left")
    assert title.endswith("from 75.1 MiB on")
    assert cost_curves(3, 14, 50).axes[0].get_title(loc="left").endswith("always")


def test_the_sliders_draw_when_they_are_moved():
    box = cost_sliders()
    ranks, _ = box.children[0].children
    before = box.children[1].value
    ranks.value = 1_000
    assert box.children[1].value != before
    assert "cost_curves(1000, 14.0, 50.0)" in box.children[2].value


# ---- the stopwatch -----------------------------------------------------------------------------


def test_a_collective_takes_as_long_as_its_slowest_rank_in_its_quickest_repetition():
    results = {0: {("ring", 8): [1.0, 5.0]}, 1: {("ring", 8): [4.0, 2.0]}}
    assert curves(results) == {"ring": [(8, 4.0)]}
