"""Pictures of collectives and of training draw what the algorithms do and what was measured."""

import math
import threading
from types import SimpleNamespace

import pytest
import synthetic
import torch
from pictures import assert_legible, gids, text_of, with_gid, words

from labkit.collectives import halving_doubling, ring, tree
from labkit.collectives.links.memory import memory_links
from labkit.events import DRIVER, Event
from labkit.views import chunks, rounds
from labkit.views.charts import bytes_text, seconds_text
from labkit.views.collectives import (
    halving_doubling_diagram,
    mesh_and_ring,
    ring_chunks,
    schedule_chunks,
    time_curves,
    traffic_bars,
    tree_diagram,
)
from labkit.views.curves import (
    amdahl_fit,
    compare_bars,
    compare_lines,
    loss_curves,
    metric_by_step,
    speedup,
    step_curves,
)


def on_every_rank(n, algorithm):
    """Runs `algorithm(link)` on n memory links, a thread each; answers by rank."""
    links, answers = memory_links(n), {}
    threads = [
        threading.Thread(target=lambda link=link: answers.update({link.rank: algorithm(link)}))
        for link in links
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == n
    return answers


def holds(state):
    """A state of the picture as numbers: rank k contributes 2^k, so a sum says whose it is."""
    return [[float(sum(2**rank for rank, _ in cell)) for cell in row] for row in state]


@pytest.mark.parametrize("n", range(2, 9))
def test_the_chunks_move_as_the_ring_moves_them(n):
    """The picture's plain formula against the real algorithm, after each of the two halves."""
    states = chunks.play(chunks.beginning(n), chunks.ring_reduce_scatter(n))
    after = chunks.play(states[-1], chunks.ring_all_gather(n))[-1]

    def both_halves(link):
        mine = list(torch.full((n,), 2.0**link.rank).tensor_split(n))
        ring.reduce_scatter(link, mine, "sum")
        half = [float(c) for c in mine]
        ring.all_gather(link, mine)
        return half, [float(c) for c in mine]

    real = on_every_rank(n, both_halves)
    assert holds(states[-1]) == [real[r][0] for r in range(n)]
    assert holds(after) == [real[r][1] for r in range(n)]
    assert all(chunks.complete(states[-1][r][r], n) for r in range(n))
    assert all(chunks.complete(cell, n) for row in after for cell in row)


@pytest.mark.parametrize("n", range(2, 9))
def test_the_picture_of_the_ring(n):
    picture = ring_chunks(n)
    assert len(with_gid(picture, "arrived")) == len(with_gid(picture, "move")) == 2 * (n - 1) * n
    assert not with_gid(picture, "wrong slot")
    assert_legible(picture)
    assert len(picture.png()) <= 60_000


def test_a_wrong_schedule_is_crossed_out():
    wrong = [[chunks.Move(r, (r + 1) % 4, r, add=True, into=(r + 1) % 4) for r in range(4)]]
    assert len(with_gid(schedule_chunks(4, wrong), "wrong slot")) == 2 * 4


def test_a_ring_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="2 to 8"):
        ring_chunks(9)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 8])
@pytest.mark.parametrize(
    ("module", "wanted"),
    [(tree, rounds.tree_rounds), (halving_doubling, rounds.halving_doubling_rounds)],
)
def test_the_diagrams_have_the_messages_of_the_algorithms(n, module, wanted):
    sent = on_every_rank(n, lambda link: talk(module, link))
    drawn = [pair for half in wanted(n) for some in half for pair in some]
    for rank in range(n):
        assert [b for a, b in drawn if a == rank] == sent[rank]


def talk(module, link):
    """To whom this rank sends, in order."""
    to, transfer = [], link.transfer

    def listen(sends=(), receives=()):
        to.extend(place for _, place in sends)
        return transfer(sends, receives)

    link.transfer = listen
    module.all_reduce(link, torch.ones(16), "sum")
    return to


@pytest.mark.parametrize("n", [2, 4, 6, 8])
def test_the_diagrams_are_legible(n):
    for picture in (tree_diagram(n), halving_doubling_diagram(n), mesh_and_ring(n)):
        assert_legible(picture)
        assert len(picture.png()) <= 60_000
    mesh = mesh_and_ring(n)
    assert len(with_gid(mesh, "mesh")) == n * (n - 1) // 2
    assert len(with_gid(mesh, "ring")) == (n if n > 2 else 1)


def test_the_bars_of_traffic_are_what_was_counted():
    def rank(size, messages):
        return SimpleNamespace(
            sent_bytes=size, sent_messages=messages, received_bytes=size, received_messages=messages
        )

    traffic = {"naive": [rank(3000, 3), rank(1000, 1)], "ring": [rank(1500, 6), rank(1500, 6)]}
    picture = traffic_bars(traffic, 1000)
    heights = [[b.get_height() for b in with_gid(picture, f"bar:{name}")] for name in traffic]
    assert heights == [[3, 1, 3, 1], [1.5, 1.5, 6, 6]]
    (least,) = with_gid(picture, "least")
    assert set(least.get_ydata()) == {1.0}
    assert_legible(picture)


def test_measured_times_stand_beside_the_model():
    sizes = [4096.0 * 4**i for i in range(8)]
    model = {
        n: [(s, a + b * s) for s in sizes]
        for n, a, b in (("ring", 1e-4, 1e-9), ("tree", 5e-5, 4e-9))
    }
    measured = {n: [(s, 1.2 * t) for s, t in line] for n, line in model.items()}
    picture = time_curves(measured, model, "title")
    (dots,) = with_gid(picture, "measured:ring")
    assert list(dots.get_xdata()) == sizes
    assert list(dots.get_ydata()) == [t for _, t in measured["ring"]]
    assert gids(picture, "model:") == ["model:ring", "model:tree"]
    written = [text for text, _ in words(picture)]
    assert {"ring", "tree", "1 MiB", "1 ms"} <= set(written)
    assert_legible(picture)


def test_units_are_readable():
    assert [bytes_text(b) for b in (4, 4096, 2**20, 2**26)] == ["4 B", "4 KiB", "1 MiB", "64 MiB"]
    assert [seconds_text(s) for s in (2, 3.4e-3, 12e-6)] == ["2 s", "3.4 ms", "12 µs"]


# ---- training ----------------------------------------------------------------------------------


def losses(ranks=2, death=None):
    told = [
        Event(
            10.0 * i + rank,
            0,
            rank,
            "metric",
            "loss",
            data={"value": math.exp(-i) + rank, "step": i},
        )
        for i in range(10)
        for rank in range(ranks)
    ]
    if death is not None:
        told.append(Event(50.0, 0, DRIVER, "death", data={"rank": 1, "step": death}))
    return told


def test_the_loss_of_a_step_is_the_mean_over_ranks_of_the_last_report():
    again = [Event(500.0, 0, 0, "metric", "loss", data={"value": 7.0, "step": 3})]
    by_step = metric_by_step(losses() + again, "loss")
    assert by_step[2] == pytest.approx(math.exp(-2) + 0.5)
    assert by_step[3] == pytest.approx((7.0 + math.exp(-3) + 1) / 2)


def test_curves_of_loss_carry_their_names_and_deaths():
    picture = loss_curves({"4 ranks": losses(4, death=6), "2 ranks": losses(2)}, title="loss")
    assert gids(picture, "line:") == ["line:2 ranks", "line:4 ranks"]
    (cross,) = with_gid(picture, "death")
    assert cross.get_xdata()[0] == 6
    assert_legible(picture)
    assert_legible(loss_curves(SimpleNamespace(events=losses())))


def test_a_metric_that_nobody_reported_is_named():
    with pytest.raises(ValueError, match="accuracy"):
        loss_curves(losses(), metric="accuracy")


def test_steps_against_time_break_off_where_a_rank_dies():
    picture = step_curves(synthetic.typical(4))
    (line,) = with_gid(picture, "line:rank 2")
    assert sum(math.isnan(y) for y in line.get_ydata()) == 1
    assert_legible(picture)


def test_only_ranks_that_keep_step_are_drawn_in_lines_of_different_width():
    def widths(pace):
        steps = [Event(float(i), 0, rank, "step", "", 0, {"step": 1 + i * pace[rank]})
                 for i in range(9) for rank in range(3)]  # fmt: skip
        return [line.get_linewidth() for line in with_gid(step_curves(steps), "line:")]

    assert len(set(widths([2, 2, 2]))) == 3
    assert len(set(widths([1, 2, 3]))) == 1


def test_amdahls_share_is_found_again():
    for share in (0.0, 0.1, 0.5, 1.0):
        counts = [1, 2, 4, 8]
        assert amdahl_fit(counts, [1 / (share + (1 - share) / n) for n in counts]) == pytest.approx(
            share
        )


def test_the_picture_of_a_speed_up():
    picture = speedup({1: 8.0, 2: 4.4, 4: 2.6})
    (dots,) = with_gid(picture, "measured")
    assert list(dots.get_ydata()) == pytest.approx([1, 8 / 4.4, 8 / 2.6])
    assert_legible(picture)
    with pytest.raises(ValueError, match=r"seconds\[1\]"):
        speedup({2: 1.0, 4: 0.6})


def test_comparisons_are_labelled_directly():
    picture = compare_bars({"ours": [0.05, 0.068, 0.09], "torchrun": 2.5}, "seconds", "Recovery")
    (bar,) = with_gid(picture, "bar:ours")
    assert bar.get_width() == 0.068
    assert gids(picture, "range:") == ["range:ours"]
    assert_legible(picture)
    lines = {"a": ([1, 2, 3], [1, 2, 3]), "b": ([1, 2, 3], [1, 2, 3.01]), "c": ([1, 2], [5, 5])}
    picture = compare_lines(lines, "x", "y", "title", log="xy")
    assert text_of(picture, "label:a") == "a"
    assert_legible(picture)
