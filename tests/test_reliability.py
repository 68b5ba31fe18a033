"""The models on paper, against published figures, closed forms, and each other."""

import math
import time

import numpy as np
import pytest

from labkit.reliability import communication as com
from labkit.reliability import economics, goodput, mtbf, published, young_daly
from labkit.reliability.goodput import Job, simulate

LLAMA = published.LLAMA3_MTBF_HOURS
MINUTE, SECOND = 1 / 60, 1 / 3600

# --- published figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("figure", published.CHECKS, ids=lambda f: f"{f.source}: {f.what}")
def test_published_figures_are_reproduced(figure):
    assert figure.agrees, f"{figure.what}: ours {figure.ours:.4g}, published {figure.published}"


PINNED = {
    "rsc-mttf-1024": 28.846,
    "rsc-mttf-8": 153.846,
    "rsc-2-interval-half": 39.231,
    "llama3-faulty-gpu": 35.322,
    "llama3-gpu-share": 63.962,
    "torchft-run-2": 19.014,
}


@pytest.mark.parametrize("name", sorted(PINNED.keys() | published.DIVERGENCES.keys()))
def test_known_divergences_stay_as_they_are(name):
    figure = published.DIVERGENCES[name]
    assert figure.ours == pytest.approx(PINNED[name], abs=0.001)
    assert not figure.agrees
    assert figure.remark


def test_llama3_table():
    assert published.LLAMA3_UNEXPECTED == 419
    assert pytest.approx(3.093, abs=0.0005) == LLAMA
    with_planned = published.LLAMA3_UNEXPECTED + published.LLAMA3_PLANNED
    assert 54 * 24 / with_planned == pytest.approx(2.78, abs=0.005)
    assert published.RATES["Llama 3 (H100, 16 k GPUs)"] == pytest.approx(3.79e-3, abs=5e-6)


@pytest.mark.parametrize("row", published.LLAMA3_INTERRUPTIONS[1:], ids=lambda r: r.component)
def test_every_other_printed_percentage_is_right(row):
    percent = 100 * row.count / published.LLAMA3_UNEXPECTED
    assert percent == pytest.approx(row.printed_percent, abs=0.051)


@pytest.mark.parametrize(
    ("write_s", "young_min", "waste_percent", "daly_min"),
    [(10, 7.87, 4.2, 7.70), (60, 19.3, 10.4, 18.3), (300, 43.1, 23.2, 38.1)],
)
def test_young_and_daly_at_llamas_mtbf(write_s, young_min, waste_percent, daly_min):
    m = LLAMA * 3600
    assert m == pytest.approx(11_135, abs=1)
    assert young_daly.young_interval(write_s, m) / 60 == pytest.approx(young_min, abs=0.05)
    assert young_daly.daly_interval(write_s, m) / 60 == pytest.approx(daly_min, abs=0.05)
    assert 100 * young_daly.least_waste(write_s, m) == pytest.approx(waste_percent, abs=0.05)


@pytest.mark.parametrize(
    ("mtbf_min", "published_min", "digit"), [(1440, 117, 0.5), (360, 57, 0.5), (15, 9.1, 0.05)]
)
def test_dalys_own_figures(mtbf_min, published_min, digit):
    """Captions of Figs. 3 to 5 of Daly 2006, for writes of 5 min."""
    ours = young_daly.daly_interval_higher_order(5.0, float(mtbf_min))
    assert ours == pytest.approx(published_min, abs=digit)


def test_sixty_second_blocking_writes_cannot_reach_ninety_percent_at_llamas_size():
    intervals = np.geomspace(1 * MINUTE, 3, 200)
    slow = young_daly.goodput(intervals, 60 * SECOND, LLAMA, restart=0.0)
    fast = young_daly.goodput(intervals, 10 * SECOND, LLAMA, restart=5 * MINUTE)
    assert slow.max() < 0.9 < fast.max()


# --- failures ------------------------------------------------------------------------------------


def test_a_thousand_machines():
    assert mtbf.all_work(0.999, 1000) == pytest.approx(0.3677, abs=5e-5)
    assert mtbf.at_least(1000, 1000, 0.999) == pytest.approx(0.999**1000)


def test_at_least_is_the_binomial_tail():
    drawn = np.random.default_rng(0).random((200_000, 5)) < 0.9
    for needed in range(6):
        assert mtbf.at_least(needed, 5, 0.9) == pytest.approx(
            (drawn.sum(axis=1) >= needed).mean(), abs=0.004
        )
    with pytest.raises(ValueError, match="cannot be needed"):
        mtbf.at_least(6, 5, 0.9)


def test_two_voters_are_worse_than_one():
    alone, pair, three = (mtbf.at_least(n // 2 + 1, n, 0.99) for n in (1, 2, 3))
    assert pair < alone < three


@pytest.mark.parametrize("machines", [1, 8, 100])
def test_the_first_failure_of_many_comes_as_much_sooner(machines):
    drawn = mtbf.first_failures(200.0, machines, 20_000, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(mtbf.mtbf_of_many(200.0, machines), rel=0.03)
    assert (drawn > 2.0).mean() == pytest.approx(mtbf.survival(2.0, 200 / machines), abs=0.01)


def test_availability():
    assert mtbf.availability(99.0, 1.0) == pytest.approx(0.99)


# --- goodput -------------------------------------------------------------------------------------

JOBS = [
    Job(LLAMA, 19.3 * MINUTE, 60 * SECOND, 6 * MINUTE),
    Job(LLAMA, 3.0, 60 * SECOND, 6 * MINUTE),
    Job(0.4, 10 * MINUTE, 30 * SECOND, 10 * MINUTE),
    Job(30.0, 0.5, 0.0, 0.0),
]


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_the_simulation_agrees_with_dalys_closed_form(job):
    outcome = simulate(job, hours=1_500 * job.mtbf, trials=60, seed=3)
    exact = young_daly.goodput(job.interval, job.write, job.mtbf, job.restart)
    # five standard errors, and the half interval that the end of the span does not lose
    error = 5 * outcome.useful.std() / math.sqrt(60) + job.interval / (1_500 * job.mtbf)
    assert outcome.goodput == pytest.approx(exact, abs=error)
    assert error < 0.01


def test_first_order_is_close_where_it_should_be_and_bends_where_it_must():
    nodes, rate = 2_048, published.RATES["Llama 3 (H100, 16 k GPUs)"]
    interval, write, restart = 19.3 * MINUTE, 60 * SECOND, 6 * MINUTE

    def first_order_minus_exact(scale):
        ratio = goodput.effective_training_time_ratio(nodes * scale, rate, interval, restart, write)
        return ratio - young_daly.goodput(interval, write, LLAMA / scale, restart)

    assert abs(first_order_minus_exact(1)) < 0.01
    assert first_order_minus_exact(8) < -0.1  # a failure every 23 min, intervals of 19
    assert goodput.effective_training_time_ratio(nodes * 80, rate, interval, restart) == 0.0


def test_all_time_is_accounted_for_and_the_seed_decides():
    job = Job(2.0, 0.3, 0.02, 0.2, spares=2, repair=5.0)
    a, b = simulate(job, 500.0, trials=20, seed=7), simulate(job, 500.0, trials=20, seed=7)
    total = a.useful + a.writing + a.lost + a.restarting + a.waiting
    np.testing.assert_allclose(total, 1.0)
    np.testing.assert_array_equal(a.useful, b.useful)
    assert (a.useful != simulate(job, 500.0, trials=20, seed=8).useful).any()
    assert min(x.min() for x in (a.useful, a.writing, a.lost, a.restarting, a.waiting)) >= 0
    assert a.waiting.min() > 0


def test_the_lives_of_the_first_trial_tell_the_same_story():
    outcome = simulate(Job(2.0, 0.3, 0.02, 0.2), 100.0, trials=3, seed=1)
    begin, end, back, kept = outcome.lives.T
    assert kept.sum() / 100 == pytest.approx(outcome.useful[0])
    assert ((begin <= back) & (back <= end)).all()
    assert len(outcome.lives) == outcome.failures[0] + 1
    np.testing.assert_allclose(begin[1:], end[:-1])  # there is always a spare


def test_without_failures_nothing_is_lost():
    outcome = simulate(Job(1e12, 0.9, 0.1, 1.0), 10.5, trials=2)
    assert outcome.goodput == pytest.approx((10 * 0.9 + 0.5) / 10.5)  # the end loses nothing
    assert outcome.lost.max() == outcome.restarting.max() == 0


def test_spares():
    """Llama's size; a repair takes a day, in which about eight machines fail."""

    def waited(spares):
        job = Job(LLAMA, 8 * MINUTE, 10 * SECOND, 5 * MINUTE, spares, repair=24.0)
        return simulate(job, 54 * 24.0, trials=20).waiting.mean()

    assert waited(None) == 0
    assert waited(64) == 0  # 3 % of 2 048 machines
    # a job that cannot run cannot fail: S + 1 machines are broken within a repair, then it waits
    assert waited(0) == pytest.approx(24 / (24 + LLAMA), abs=0.02)
    assert 0.02 < waited(8) < waited(3) < waited(0)


def test_no_spares_and_slow_writes_explain_a_bad_result():
    """A simulation that assumes no spares and 60 s writes finds a much smaller ratio."""
    poor = simulate(Job(LLAMA, 0.32, 60 * SECOND, 0.1, spares=0, repair=1.0), 54 * 24.0)
    good = simulate(Job(LLAMA, 0.18, 20 * SECOND, 0.1, spares=61, repair=1.0), 54 * 24.0)
    assert poor.goodput < 0.70
    assert good.goodput > 0.88


def test_too_many_failures_to_draw_are_refused():
    with pytest.raises(ValueError, match="simulate at most 20 h"):
        simulate(Job(0.001, 0.3, 0.02, 0.2), 1_000.0)


def test_a_slider_feels_live():
    """54 days at Llama's size, 100 times over: 30 ms on one slow core; ten times that at most."""
    simulate(JOBS[0], 24.0)
    begin = time.perf_counter()
    simulate(JOBS[0], 54 * 24.0, trials=100)
    assert time.perf_counter() - begin < 1.0


# --- dollars -------------------------------------------------------------------------------------


def test_the_price_of_two_weeks():
    assert economics.run_dollars(2_000, 336, 2.0) == 1_344_000


def test_what_a_failure_costs_grows_with_the_square():
    def bill(gpus):
        failures = 336 / mtbf.job_mtbf_hours(gpus / 8, published.RSC1)
        return failures * economics.failure_dollars(gpus, 2.0, 1.0, 0.1)

    assert bill(4_000) == pytest.approx(4 * bill(2_000))


def test_without_checkpoints_long_jobs_never_end():
    m = mtbf.job_mtbf_hours(250, published.RSC1)
    hours = young_daly.expected_time_without_checkpoints(336.0, m)
    assert hours == pytest.approx(m * math.expm1(336 / m))
    assert hours / 24 / 365 > 1e6
    # and a short job hardly notices
    assert young_daly.expected_time_without_checkpoints(1.0, 1_000.0) == pytest.approx(1, rel=1e-3)


def test_spot_pays_exactly_from_break_even():
    even = economics.break_even_goodput(0.8, 2.0, 0.95)
    assert economics.dollars_per_useful_hour(0.8, even) == pytest.approx(
        economics.dollars_per_useful_hour(2.0, 0.95)
    )


# --- communication -------------------------------------------------------------------------------

WIRE = com.Wire(alpha=50e-6, beta=1 / 1e9, gamma=1 / 20e9)


@pytest.mark.parametrize("algorithm", com.ALGORITHMS)
def test_one_rank_pays_nothing(algorithm):
    assert com.ALGORITHMS[algorithm](WIRE, 1, 1 << 20) == 0


def test_costs_by_hand():
    """Four ranks, one second per message, one per byte, nothing for adding."""
    wire = com.Wire(1.0, 1.0)
    assert com.naive(wire, 4, 8) == 2 * 3 * (1 + 8)
    assert com.tree(wire, 4, 8) == 2 * 2 * (1 + 8)
    assert com.ring(wire, 4, 8) == 2 * 3 * (1 + 2)
    assert com.halving_doubling(wire, 4, 8) == 2 * 2 * 1 + 2 * (4 + 2)
    assert com.halving_doubling(wire, 5, 8) == com.halving_doubling(wire, 4, 8) + 2 * (1 + 8)
    assert com.ring(com.Wire(0, 0, 1.0), 4, 8) == 3 * 2


@pytest.mark.parametrize("ranks", [2, 4, 8, 64])
def test_ring_and_halving_move_the_fewest_bytes(ranks):
    wire, size = com.Wire(0.0, 1.0), 1 << 20
    costs = {name: cost(wire, ranks, size) for name, cost in com.ALGORITHMS.items()}
    least = com.least_bytes(ranks, size)
    assert costs["ring"] == costs["halving_doubling"] == pytest.approx(least)
    assert min(costs.values()) >= least
    assert com.bus_bandwidth(ranks, size, costs["ring"]) == pytest.approx(1.0)


def test_small_messages_want_few_large_ones_want_short():
    small, large = 1_024, 64 << 20
    assert com.halving_doubling(WIRE, 16, small) < com.ring(WIRE, 16, small)
    assert com.tree(WIRE, 16, small) < com.ring(WIRE, 16, small)
    assert com.ring(WIRE, 16, large) < com.tree(WIRE, 16, large) < com.naive(WIRE, 16, large)


def test_the_crossover_is_where_the_costs_are_equal():
    size = com.crossover("tree", "ring", WIRE, 16)
    assert com.tree(WIRE, 16, size) == pytest.approx(com.ring(WIRE, 16, size))
    assert com.ring(WIRE, 16, 2 * size) < com.tree(WIRE, 16, 2 * size)
    assert com.crossover("ring", "tree", WIRE, 16) is None
    assert com.crossover("naive", "ring", WIRE, 16) == 0.0


def test_alpha_and_beta_are_found_again():
    sizes = np.geomspace(1_024, 64 << 20, 12)
    noise = 1 + 0.02 * np.random.default_rng(0).standard_normal(12)
    wire = com.fit(sizes, com.message(WIRE, sizes) * noise)
    assert wire.alpha == pytest.approx(WIRE.alpha, rel=0.05)
    assert wire.beta == pytest.approx(WIRE.beta, rel=0.05)
    with pytest.raises(ValueError, match="two different sizes"):
        com.fit([1_024, 1_024], [1e-3, 1e-3])
