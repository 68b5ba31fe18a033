"""From the gradients of many workers to one, when some of the workers may send anything at all.

One worker is enough to make a mean whatever it likes. The others here bear `f` such workers: the
median and the trimmed mean of each coordinate (D. Yin et al., "Byzantine-Robust Distributed
Learning", ICML 2018), and Krum, which takes one worker's gradient as it is, the one that lies
closest to its neighbours (P. Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Gradients = Sequence[Tensor]
"""One for each worker, all of one shape."""


def mean(gradients: Gradients) -> Tensor:
    return torch.stack(list(gradients)).mean(0)


def median(gradients: Gradients) -> Tensor:
    """Of each coordinate; of an even number, the mean of the two in the middle."""
    ordered = torch.stack(list(gradients)).sort(0).values
    middle = (len(gradients) - 1) // 2
    return ordered[middle : len(gradients) // 2 + 1].mean(0)


def trimmed_mean(gradients: Gradients, f: int) -> Tensor:
    """Of each coordinate, without the f largest and the f smallest. Raises ValueError if nothing
    is left."""
    if len(gradients) <= 2 * f:
        raise ValueError(f"of {len(gradients)} gradients {f} at either end leave none")
    ordered = torch.stack(list(gradients)).sort(0).values
    return ordered[f : len(gradients) - f].mean(0)


def krum(gradients: Gradients, f: int) -> Tensor:
    """The gradient with the smallest sum of squared distances to its n − f − 2 nearest others.

    Raises ValueError for fewer than 2f + 3 gradients: with fewer, liars could be their own crowd.
    """
    n = len(gradients)
    if n < 2 * f + 3:
        raise ValueError(f"Krum needs 2f + 3 = {2 * f + 3} gradients to bear f = {f}, not {n}")
    flat = torch.stack([gradient.flatten() for gradient in gradients])
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").square()
    nearest = distances.sort(1).values[:, 1 : n - f - 1]  # the first is itself, at distance 0
    return gradients[int(nearest.sum(1).argmin())]
