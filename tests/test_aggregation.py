"""Mean, median, trimmed mean and Krum, with and without workers that lie."""

from types import SimpleNamespace

import pytest
import torch

from labkit.training.aggregation import krum, mean, median, trimmed_mean
from labkit.training.replica import Replica


def gradients(*rows):
    return [torch.tensor(row, dtype=torch.float32) for row in rows]


HONEST = gradients([1.0, 2.0], [1.2, 1.8], [0.9, 2.1], [1.1, 1.9], [1.0, 2.2])
LIAR = torch.tensor([-100.0, 1e6])


def test_of_equal_gradients_all_make_the_same():
    same = gradients(*[[3.0, -1.0]] * 5)

    for made in (mean(same), median(same), trimmed_mean(same, 1), krum(same, 1)):
        assert made.tolist() == [3.0, -1.0]


def test_one_liar_decides_the_mean():
    """Blanchard et al. 2017, lemma 1: no linear rule bears a single one."""
    wanted = torch.tensor([7.0, 7.0])
    lie = 6 * wanted - torch.stack(HONEST).sum(0)

    assert torch.allclose(mean([*HONEST, lie]), wanted)


@pytest.mark.parametrize(
    "rule",
    [median, lambda g: trimmed_mean(g, 1), lambda g: krum(g, 1)],
    ids=["median", "trim", "krum"],
)
@pytest.mark.parametrize("place", range(6))
def test_the_others_stay_among_the_honest(rule, place):
    heard = [*HONEST[:place], LIAR, *HONEST[place:]]

    made = rule(heard)

    honest = torch.stack(HONEST)
    assert (made >= honest.min(0).values).all()
    assert (made <= honest.max(0).values).all()


def test_the_median_of_an_even_number_is_between_the_two_in_the_middle():
    assert median(gradients([1.0], [2.0], [4.0], [100.0])).tolist() == [3.0]
    assert median(gradients([1.0], [2.0], [100.0])).tolist() == [2.0]


def test_krum_returns_one_of_the_gradients_as_it_is():
    made = krum([*HONEST, LIAR], 1)

    assert any(made is gradient for gradient in HONEST)


def test_krum_looks_at_the_nearest_and_not_at_all():
    """Two liars far out on one side would drag a sum over all distances towards them."""
    crowd = gradients([0.0], [0.1], [0.2], [0.3], [0.4])
    liars = gradients([9.0], [9.5])

    assert krum([*crowd, *liars], 2).item() in (pytest.approx(0.1), pytest.approx(0.2))


@pytest.mark.parametrize(("n", "f"), [(4, 1), (6, 2), (2, 0)])
def test_krum_says_how_many_it_needs(n, f):
    with pytest.raises(ValueError, match=rf"2f \+ 3 = {2 * f + 3} gradients"):
        krum(HONEST[:n] if n <= 5 else [*HONEST, LIAR], f)


def test_a_trimmed_mean_of_nothing():
    with pytest.raises(ValueError, match="leave none"):
        trimmed_mean(HONEST[:4], 2)


# -- what they are tried with


def replica(rank=0):
    return Replica(SimpleNamespace(rank=rank, seed=3, device="cpu"), batch=16)


def test_replicas_are_equal_and_so_are_gradients_of_equal_names():
    one, other = replica(0), replica(1)

    assert torch.equal(one.weights, other.weights)
    assert torch.equal(one.gradient(1, 2), other.gradient(1, 2))
    assert torch.equal(one.gradient(1, 2), one.gradient(1, 2))
    assert not torch.equal(one.gradient(1, 2), other.gradient(1, 3))


def test_a_step_against_the_gradient_makes_the_loss_smaller():
    one = replica()
    slope = one.gradient(1)
    before = one.loss

    one.move(-0.1 * slope)
    one.gradient(1)

    assert one.loss < before
    assert 0.0 <= one.accuracy() <= 1.0
