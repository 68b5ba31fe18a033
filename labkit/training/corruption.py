"""Silent corruption: how a fault brings it in, how replicas find it, and how they mend it.

All ranks hold the same weights, so their hashes agree, and the one that has another is wrong: with
three ranks or more a majority says which. (H. Dixit and others, "Silent Data Corruptions at Scale",
2021; Meta's Llama 3 report, 2024, table 5: 6 of 419 interruptions.)
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit import faults

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.training.buckets import Buckets


class Disagreement(RuntimeError):
    """The replicas differ and no majority says which of them is right."""


def inject(model: nn.Module, buckets: Buckets) -> None:
    """The faults of this kind that wait for this rank strike now, before a step."""
    if (flip := faults.struck(faults.CorruptWeights)) is not None:
        flip_bit(next(model.parameters()), flip.bit)
    if (poison := faults.struck(faults.PoisonGradient)) is not None:
        buckets.poison = math.nan if poison.value is None else poison.value


def flip_bit(weights: Tensor, bit: int) -> None:
    """One bit of the first element changes, in place; `weights` is float32."""
    with torch.no_grad():
        weights.view(-1)[:1].view(torch.int32).bitwise_xor_(1 << bit)


def digest(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """63 bits that tell whether two ranks hold the same weights and the same optimizer's state."""
    hash = hashlib.blake2b(digest_size=8)
    for tensor in (*model.state_dict().values(), *_tensors(optimizer.state_dict()["state"])):
        hash.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(hash.digest(), "big") >> 1


def _tensors(state: dict[int, dict[str, Any]]) -> Iterator[Tensor]:
    for _, values in sorted(state.items()):
        yield from (value for _, value in sorted(values.items()) if isinstance(value, Tensor))


def odd_ones(digests: list[int]) -> list[int]:
    """The places whose digest is not that of the majority. Raises Disagreement without one."""
    most, count = Counter(digests).most_common(1)[0]
    if 2 * count <= len(digests):
        raise Disagreement(
            f"the weights of {len(digests)} ranks differ and no majority says whose are right: "
            "go back to a checkpoint, and train with three ranks or more"
        )
    return [place for place, digest in enumerate(digests) if digest != most]


def compare(
    group: Group, model: nn.Module, optimizer: torch.optim.Optimizer, places: Sequence[int]
) -> list[int]:
    """Those of these places in the group whose state differs from what most of them have; the same
    list on all members."""
    mine = torch.tensor([digest(model, optimizer)], device=next(model.parameters()).device)
    everyone = [int(one) for one in group.all_gather(mine)]
    return [places[i] for i in odd_ones([everyone[place] for place in places])]
