"""Sums in fixed point: the same bits in any order, over any number of ranks.

Adding integers is associative, adding floating-point numbers is not. So every logical shard's
gradient is turned into int64 at a scale that is fixed beforehand, the integers are summed by
whatever algorithm is at hand, and the sum is turned back. One more rounding for each shard, to
2^-fraction_bits, is all that it costs in accuracy; gradients below half of that vanish. In bytes it
costs twice those of float32, on the wire and in the buckets.

No sum can wrap: with L shards no gradient may exceed (2^63 - 1) / L, which is checked before the
integers count. A gradient that does is an error at every rank, with the parameter's name and the
scale that would do (Kulisch's accumulators are the same idea with enough bits for any float:
U. Kulisch and W. Miranker, "The arithmetic of the digital computer", SIAM Review 28(1), 1986;
J. Demmel and H. D. Nguyen, "Parallel Reproducible Summation", IEEE Trans. Computers 64(7), 2015,
get by without a fixed scale).

What must hold besides, or the *addends* differ: every rank computes a shard's gradient with the
same kernels, so the same kind of device, the same torch, the same number of threads, deterministic
algorithms. `require_alike` compares that among all ranks before the first step of every view.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.training.buckets import IN_ORDER, Bucket, Buckets

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.training.buckets import Algorithm


@dataclass(frozen=True)
class Exact:
    """Sums in steps of 2^-fraction_bits. With 8 shards and 40 bits a gradient may reach 1e6."""

    fraction_bits: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.fraction_bits < 63:
            raise ValueError(f"fraction_bits={self.fraction_bits} leaves no room: use 0 to 62")

    def limit(self, addends: int) -> float:
        """The largest number of steps of which so many can be added without wrapping."""
        limit = (2**63 - 1) // addends
        near = float(limit)  # 2^60 - 1 would become 2^60, and eight of those do wrap
        return near if int(near) <= limit else math.nextafter(near, 0.0)

    def encode(self, values: Tensor) -> Tensor:
        """int64 steps, rounded half to even. What lies beyond int64 gives any integer: check it."""
        steps = values.to(torch.float64, copy=True)
        return steps.mul_(2.0**self.fraction_bits).round_().to(torch.int64)

    def decode(self, total: Tensor, dtype: torch.dtype) -> Tensor:
        return (total.double() * 2.0**-self.fraction_bits).to(dtype)


class ExactBuckets(Buckets):
    """Buckets of integers. The last one carries, behind the gradients and before the tail, the
    number of those that did not fit: where one did not, every rank's `wait` raises the same error.

    Switches deterministic algorithms on until `close`. Raises ValueError, at every rank, where
    the ranks are not alike.
    """

    def __init__(
        self,
        model: nn.Module,
        group: Group,
        shares: Sequence[Sequence[int]],
        algorithm: Algorithm = "ring",
        bucket_bytes: int = 1 << 20,
        exact: Exact = Exact(),
    ) -> None:
        if algorithm == IN_ORDER:
            raise ValueError('exact sums need no order: use algorithm="ring"')
        self.exact, self.count = exact, sum(map(len, shares))
        self.limit = exact.limit(self.count) * 2.0**-exact.fraction_bits
        self.names = [name for name, _ in model.named_parameters()]
        self.columns: dict[Tensor, int] = {p: i for i, p in enumerate(model.parameters())}
        self.was = deterministic(True)
        try:
            require_alike(group)
            super().__init__(model, group, shares, algorithm, bucket_bytes)
        except BaseException:
            deterministic(self.was)
            raise

    def begin(self, vote: int = 0, save: bool = False, tells: int = 0) -> None:
        super().begin(vote, save, tells)
        # The largest entry of each shard's gradient of each parameter, and of its loss.
        shape = self.count, len(self.names) + 1
        self.peaks = torch.zeros(shape, dtype=torch.float64, device=self.buckets[0].total.device)

    def sums(self) -> list[Tensor]:
        return [p.grad for p in self.columns if p.grad is not None]

    def wait(self) -> float:
        """As in `Buckets`. Raises OverflowError or FloatingPointError, at every rank alike, and
        has then changed no `.grad`."""
        super().wait()
        return self.exact.decode(self.buckets[-1].total[-self.tail], torch.float64).item()

    def close(self) -> None:
        super().close()
        deterministic(self.was)

    def _room(self, parameters: list[nn.Parameter], last: bool) -> Tensor:
        size = sum(p.numel() for p in parameters) + (1 + self.tail) * last
        return self.group.bucket(size, torch.int64, self.algorithm == "shared_memory")

    def _counted(self) -> list[Bucket]:
        return self.buckets

    def _aim(self) -> None:
        for parameter in self.columns:
            parameter.grad = None  # each shard's gradient comes by itself, to be turned

    def _collect(self, bucket: Bucket, place: slice, parameter: Tensor) -> None:
        assert parameter.grad is not None
        self._add(self._steps(bucket)[place], parameter.grad.flatten(), self.columns[parameter])
        parameter.grad = None

    def _collect_tail(self, bucket: Bucket, loss: Tensor) -> None:
        row = self._steps(bucket)
        self._add(row[-self.tail : 1 - self.tail], loss.view(1), len(self.names))
        if self.shard == 1:
            self._add_words(row)

    def _steps(self, bucket: Bucket) -> Tensor:
        """Where the integers of the shard under way are added."""
        return bucket.total

    def _current(self) -> int:
        return self.mine[self.shard - 1]

    def _add(self, total: Tensor, values: Tensor, column: int) -> None:
        if values.numel():
            self.peaks[self._current(), column] = torch.linalg.vector_norm(values, math.inf)
        total += self.exact.encode(values)

    def _finish(self) -> None:
        super()._finish()
        if self.buckets[-1].total[-self.tail - 1]:
            raise self._complaint()

    def _hand_out(self) -> None:
        for bucket in self.buckets:
            for parameter, place in bucket.places():
                gradient = self.exact.decode(bucket.total[place], parameter.dtype)
                parameter.grad = gradient.view_as(parameter)

    def _start_next(self) -> None:
        if self._next is self.buckets[-1]:  # all of this rank's gradients are there
            self.finite = bool(self.peaks.isfinite().all())
            self._next.total[-self.tail - 1] = (
                ~(self.peaks <= self.limit)
            ).sum()  # also where one is NaN
        super()._start_next()

    def _complaint(self) -> ArithmeticError:
        """The worst of all ranks, the same at each."""
        worst = self.peaks.new_tensor([-1.0, 0.0, 0.0])
        for shard, peaks in enumerate(self.peaks.tolist()):
            for column, peak in enumerate(peaks):
                size = math.inf if math.isnan(peak) else peak
                if size > worst[0]:
                    worst = self.peaks.new_tensor([size, shard, column])
        found = torch.stack(self.group.all_gather(worst))
        place = int(found[:, 0].argmax())
        size, shard, column = found[place].tolist()
        names = [*(f"the gradient of {name}" for name in self.names), "the loss"]
        who = f"{names[int(column)]} for shard {int(shard)} at rank {self.group.members[place]}"
        if math.isinf(size):
            return FloatingPointError(f"{who} is NaN or infinite: no sum is made of it")
        bits = self.exact.fraction_bits
        fits = math.floor(math.log2(self.limit / size)) + bits
        advice = f"use Exact(fraction_bits={fits}) or less" if fits >= 0 else "no scale fits it"
        return OverflowError(
            f"{who} reaches {size:.3g}, more than the {self.limit:.3g} that {bits} bits behind the "
            f"point leave room for: {advice}"
        )


def deterministic(on: bool) -> bool:
    """Switches torch's deterministic algorithms; returns what they were before."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(on)
    # Uninitialised memory is written before it is read here, by the collectives.
    torch.utils.deterministic.fill_uninitialized_memory = not on  # type: ignore[attr-defined]
    return was


def conditions(device: torch.device) -> dict[str, Any]:
    """What decides which kernels compute a gradient, and in which order they add."""
    on_gpu = device.type == "cuda"
    return {
        "kind of device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "kernels": torch.backends.cudnn.version()
        if on_gpu
        else torch.backends.cpu.get_cpu_capability(),
        "torch version": torch.__version__,
        "number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


ROOM = 512  # bytes of a description


def require_alike(group: Group) -> None:
    """Every rank of the group hears of every other's `conditions`. Raises ValueError, at all ranks
    alike, with the rank that differs from most, and in what."""
    device = group.link.device
    text = json.dumps(conditions(device)).encode()
    mine = torch.zeros(ROOM, dtype=torch.uint8, device=device)
    mine[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
    everyone = [
        json.loads(bytes(said.tolist()).rstrip(b"\0").decode()) for said in group.all_gather(mine)
    ]
    for what in everyone[0]:
        usual = Counter(said[what] for said in everyone).most_common(1)[0][0]
        for rank, said in zip(group.members, everyone, strict=True):
            if said[what] != usual:
                raise ValueError(
                    f"exact sums need ranks that compute alike, and rank {rank} differs in "
                    f"{what}: {said[what]!r}, where most have {usual!r}. Make it the same, or "
                    "train without exact=True"
                )
    if not everyone[0]["deterministic algorithms"]:
        raise ValueError(
            "exact sums need deterministic algorithms: torch.use_deterministic_algorithms(True)"
        )
