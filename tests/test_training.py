"""Data, sampler, buckets and the training loop.

Most ranks here are threads, each with a real `Group` over a memory link, so that a death can be
had at any chosen message. Threads share torch's global generator: these runs leave dropout out.
The last tests train on a real cluster.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from labkit import At, Cluster, FaultPlan, Kill
from labkit.collectives.group import Group
from labkit.collectives.links.memory import memory_links
from labkit.reliability.communication import Wire
from labkit.training import corruption, data, models, scaling
from labkit.training.buckets import PREEMPTED, TAIL, Buckets, fill
from labkit.training.data import Data
from labkit.training.exact import Exact, ExactBuckets
from labkit.training.in_order import sum_in_order
from labkit.training.loop import summed_loss, train
from labkit.training.overlap import on_paper, watch
from labkit.training.recipes import momentum
from labkit.training.redundant import Kept, RedundantBuckets
from labkit.training.sampler import SHARDS, Sampler, cut, derive, randomness, share
from labkit.training.state import State, catch_up, fingerprint
from labkit.view import PeerLost, View
from labkit.views.overlap import overlap

DEADLINE = 30.0


# -- data


@pytest.mark.parametrize("name", ["digits.npz", "library.txt.gz"])
def test_the_files_are_those_that_the_readme_describes(name: str) -> None:
    folder = resources.files("labkit") / "data"
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text()


def test_digits_are_split_alike_in_every_class() -> None:
    learn, examine = data.digits()
    assert learn.inputs.shape == (1442, 1, 8, 8)
    assert examine.inputs.shape == (355, 1, 8, 8)
    assert learn.inputs.min() == 0
    assert learn.inputs.max() == 1
    balance = examine.targets.bincount() / (learn.targets.bincount() + examine.targets.bincount())
    assert balance.shape == (10,)
    assert ((balance > 0.19) & (balance < 0.21)).all()


def test_text_windows_ask_for_the_next_character() -> None:
    learn, examine = data.text()
    assert learn.inputs.shape == learn.targets.shape == (2812, data.WINDOW)
    assert examine.samples == 312
    assert torch.equal(learn.inputs[0, 1:], learn.targets[0, :-1])
    assert torch.equal(learn.inputs[1:, 0], learn.targets[:-1, -1])
    assert len(data.characters()) == 200_000
    assert "class Thread:" in data.characters()
    assert data.decode(data.encode("def f(x):\n")) == "def f(x):\n"


# -- models


@pytest.mark.parametrize(("name", "samples"), [("cnn", data.digits), ("gpt", data.text)])
def test_a_model_looks_at_one_sample_at_a_time(name: str, samples: Callable[[], Data]) -> None:
    model = models.build(name, seed=1).eval()
    inputs = samples().test.inputs[:5]
    together, alone = model(inputs), torch.cat([model(row[None]) for row in inputs])
    torch.testing.assert_close(together, alone)
    assert model(inputs[:0]).shape == (0, *together.shape[1:])


def test_a_gpt_does_not_see_the_future() -> None:
    model = models.build("gpt").eval()
    numbers = data.text().test.inputs[:1].clone()
    before = model(numbers)
    numbers[0, 40] = (numbers[0, 40] + 1) % len(data.alphabet())
    torch.testing.assert_close(model(numbers)[0, :40], before[0, :40])
    assert not torch.equal(model(numbers)[0, 40], before[0, 40])


def test_a_seed_gives_the_same_weights_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    one = fingerprint(models.build("cnn", seed=3))
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert fingerprint(models.build("cnn", seed=3)) == one
    assert fingerprint(models.build("cnn", seed=4)) != one
    with pytest.raises(ValueError, match="use one of cnn, gpt"):
        models.build("resnet")


# -- sampler


@pytest.mark.parametrize("size", range(1, 9))
def test_every_sample_comes_once_an_epoch_whatever_the_world_size(size: int) -> None:
    sampler = Sampler(samples=103, batch=20, seed=7)
    seen: Counter[int] = Counter()
    while sampler.epoch == 0:
        shards = cut(sampler.rows())
        for place in range(size):
            for shard in share(place, size):
                seen.update(shards[shard].tolist())
        sampler.advance()
    assert seen == Counter(range(103))


@pytest.mark.parametrize("size", range(1, 12))
def test_the_shards_are_shared_out_evenly_and_in_order(size: int) -> None:
    shares = [share(place, size) for place in range(size)]
    assert [shard for part in shares for shard in part] == list(range(SHARDS))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_restored_sampler_goes_on_with_exactly_the_next_sample() -> None:
    one = Sampler(samples=50, batch=16, seed=3)
    for _ in range(5):
        one.advance()
    other = Sampler(samples=50, batch=16, seed=3)
    other.restore(one.state())
    for _ in range(9):
        assert torch.equal(one.rows(), other.rows())
        one.advance()
        other.advance()


def test_orders_differ_between_epochs_and_seeds() -> None:
    first, second = Sampler(50, 50, seed=0), Sampler(50, 50, seed=0, epoch=1)
    assert not torch.equal(first.rows(), second.rows())
    assert not torch.equal(first.rows(), Sampler(50, 50, seed=1).rows())
    assert len({derive("shard", *parts) for parts in [(0, 0, 1), (0, 1, 0), (1, 0, 0)]}) == 3


def test_the_gradient_of_a_shard_depends_on_nothing_else() -> None:
    """Computed after other shards, in another order, or alone: the same bits, dropout included."""
    model, learn = models.build("cnn", seed=2), data.digits().train
    shards = cut(Sampler(learn.samples, 64, seed=9).rows())

    def gradient(shard: int, seed: int = 9) -> torch.Tensor:
        randomness(seed, 0, shard)
        model.zero_grad()
        summed_loss(model, learn.rows(shards[shard])).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    alone = gradient(5)
    others = [gradient(shard) for shard in (7, 5, 0)]
    assert torch.equal(alone, others[1])
    assert not torch.equal(alone, gradient(5, seed=10))  # dropout does draw


# -- ranks as threads


class Died(Exception):
    """A rank is gone, without a word to anyone."""


class World:
    """Threads as ranks. A dead one is known to the others at once, or when `tell` is called."""

    def __init__(self, size: int, tell_at_once: bool = True) -> None:
        self.size, self.tell_at_once = size, tell_at_once
        self.lock = threading.RLock()
        self.listeners: list[tuple[View, Any]] = []
        self.dead: set[int] = set()
        self.links: dict[View, list[Any]] = {}

    def subscribe(self, view: View, listener: Any) -> Callable[[], None]:
        with self.lock:
            entry = (view, listener)
            self.listeners.append(entry)
            gone = self.dead & set(view.members)
        for rank in gone:
            listener.on_death(rank)
        return lambda: self.listeners.remove(entry) if entry in self.listeners else None

    def tell(self, rank: int) -> None:
        with self.lock:
            self.dead.add(rank)
            listeners = [heard for view, heard in self.listeners if rank in view.members]
        for listener in listeners:
            listener.on_death(rank)

    def link(self, view: View, rank: int) -> Any:
        with self.lock:
            if view not in self.links:
                self.links[view] = list(memory_links(len(view.members)))
            return self.links[view][view.members.index(rank)]

    def run(self, work: Callable[[Any], Any], **arguments: Any) -> dict[int, Any]:
        """`work(worker)` on every rank; an exception is its result."""

        def life(rank: int) -> Any:
            worker = Worker(self, rank, **arguments)
            try:
                return work(worker)
            except Died as death:
                if self.tell_at_once:
                    self.tell(rank)
                return death
            except Exception as error:
                return error

        with ThreadPoolExecutor(self.size) as threads:
            return dict(enumerate(threads.map(life, range(self.size))))


class Worker:
    """What `train` knows of a worker. `at_step(worker, step)` runs when a step is complete,
    `at_link(worker, view, link)` when a group is formed."""

    def __init__(
        self,
        world: World,
        rank: int,
        at_step: Callable[..., None] = lambda worker, step: None,
        at_link: Callable[..., None] = lambda worker, view, link: None,
    ) -> None:
        self.world, self.rank, self.seed = world, rank, 0
        self.world_size = world.size
        self.at_step, self.at_link = at_step, at_link
        self.device = torch.device("cpu")
        self.elastic = self.must_regroup = self.preempted = False
        self.regroup()

    def regroup(self, minimum: int = 1) -> Group:
        while True:
            if self.rank in self.world.dead:
                raise Died
            with self.world.lock:
                left = (rank for rank in range(self.world.size) if rank not in self.world.dead)
                view = View(1 + len(self.world.dead), tuple(left))
            link = self.world.link(view, self.rank)
            self.at_link(self, view, link)
            with contextlib.suppress(PeerLost):  # another death meanwhile: the view after this one
                form = partial(tuple, (link, None))
                self.group = Group(view, self.rank, form, self.world, DEADLINE)
                return self.group

    def expect(self, steps: int) -> None:
        pass

    def heed_notice(self) -> None:
        pass

    def report(self, step: int, loss: float) -> None:
        pass

    def step(self, step: int) -> None:
        self.at_step(self, step)


def dies_at(deaths: dict[int, int]) -> Callable[[Worker, int], None]:
    """Each rank of `deaths` dies when it has completed that step, or, where another's death kept
    it from completing it, the next."""

    def at_step(worker: Worker, step: int) -> None:
        if step >= deaths.get(worker.rank, math.inf):
            raise Died

    return at_step


def dies_before_message(rank: int, count: int, number: int = 1) -> Callable[..., None]:
    """In view `number`, the `count`-th transfer of the rank never starts."""

    def at_link(worker: Worker, view: View, link: Any) -> None:
        if (worker.rank, view.number) != (rank, number):
            return
        transfer, calls = link.transfer, iter(range(1, 1_000_000))

        def counted(*arguments: Any, **named: Any) -> Any:
            if next(calls) == count:
                raise Died
            return transfer(*arguments, **named)

        link.transfer = counted

    return at_link


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models without dropout, built one at a time: threads share the global generator."""
    build, lock = models.build, threading.Lock()

    def locked(name: str, seed: int = 0) -> nn.Module:
        with lock:
            model = build(name, seed)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return model

    monkeypatch.setattr(models, "build", locked)


LITTLE = Data(data.digits().train.rows(slice(200)), data.digits().test.rows(slice(50)))
training = partial(train, data=LITTLE, steps=6, batch=40)


# -- buckets and the sum in order


def test_buckets_are_filled_from_the_last_layer_and_bounded() -> None:
    parameters = list(models.CNN().parameters())[::-1]
    lists = fill(parameters, bucket_bytes=20_000)
    assert [p for part in lists for p in part] == parameters
    assert all(sum(p.nbytes for p in part) <= 20_000 or len(part) == 1 for part in lists)
    assert len(lists) > 2
    assert len(fill(parameters, bucket_bytes=1 << 30)) == 1


@pytest.mark.parametrize("algorithm", ["ring", "tree", "naive", "halving_doubling", "in_order"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
@pytest.mark.usefixtures("plain")
def test_buckets_hold_the_gradient_that_torch_computes(algorithm: str, size: int) -> None:
    learn = data.digits().train
    rows = Sampler(learn.samples, 37, seed=1).rows()
    model = models.build("cnn")
    loss = summed_loss(model, learn.rows(rows)) / 37
    loss.backward()
    expected = [p.grad for p in model.parameters()]

    def work(worker: Worker) -> None:
        shares = [share(place, size) for place in range(size)]
        mine = models.build("cnn")
        buckets = Buckets(mine, worker.group, shares, algorithm, bucket_bytes=20_000)
        for _ in range(2):  # the second step finds nothing left of the first
            buckets.begin()
            for shard in buckets.mine:
                buckets.backward(summed_loss(mine, learn.rows(cut(rows)[shard])) / 37)
            assert buckets.wait() == pytest.approx(loss.item(), rel=1e-5)
            for parameter, gradient in zip(mine.parameters(), expected, strict=True):
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
        buckets.close()

    assert set(World(size).run(work).values()) == {None}


@pytest.mark.parametrize("how", ["ring", "in_order", "exact", "twice"])
def test_more_ranks_than_shards_and_the_one_without_has_words_too(how: str) -> None:
    """It may be the one that is told to leave, or whose clock wants a checkpoint. How many shards
    another has changes nothing in what it says."""

    def work(worker: Worker) -> tuple[float, ...]:
        model, shares = nn.Linear(1, 1), [(0, 2), (1,), ()]
        common: Any = model, worker.group, shares
        if how == "exact":
            buckets = ExactBuckets(*common)
        elif how == "twice":
            buckets = RedundantBuckets(*common, "ring", 1 << 20, Exact(), Kept(), 0)
        else:
            buckets = Buckets(*common, how)
        alone = worker.rank == 2
        for _ in range(2):  # nothing is left of the first step's
            buckets.begin(PREEMPTED * alone, alone, tells=(worker.rank + 1) * 1000)
            for _ in buckets.shards():
                buckets.backward(model(torch.ones(1)).sum() * 0 + 0.25)
            loss = buckets.wait()
        buckets.close()
        return loss, buckets.votes, buckets.saves, *buckets.told

    assert set(World(3).run(work).values()) == {(0.75, PREEMPTED, 1.0, 1000, 2000, 3000)}


@pytest.mark.usefixtures("plain")
def test_a_full_bucket_sets_off_while_earlier_layers_are_still_computed() -> None:
    order: list[str] = []

    def work(worker: Worker) -> None:
        model = models.build("cnn")
        buckets = Buckets(model, worker.group, [range(1)], bucket_bytes=20_000)
        start = worker.group.all_reduce_async

        def noted(tensor: torch.Tensor, **named: Any) -> Any:
            order.append("bucket")
            return start(tensor, **named)

        worker.group.all_reduce_async = noted  # type: ignore[method-assign]
        model.fine.weight.register_hook(lambda gradient: order.append("first layer"))
        buckets.begin()
        buckets.backward(summed_loss(model, LITTLE.train))
        buckets.wait()

    assert World(1).run(work) == {0: None}
    assert order.index("bucket") < order.index("first layer")
    assert order[-1] == "bucket"


def test_a_collective_that_broke_off_is_the_last_of_its_group() -> None:
    """Peers may still be in it: whatever came next would reach them in its place."""

    def work(worker: Worker) -> bool:
        def broken() -> None:
            raise RuntimeError("Connection closed by peer")

        first = worker.group.submit(broken, "all_reduce")
        second = worker.group.submit(lambda: None, "all_reduce")
        worker.group.thread.join(DEADLINE)
        return first.ended and not second.ended

    assert World(1).run(work) == {0: True}


def test_the_sum_in_order_has_the_same_bits_for_every_world_size() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-4, 4, SHARDS)[:, None]
    gradients = torch.randn(SHARDS, 101, generator=generator) * scale

    def summed(size: int, in_order: bool) -> torch.Tensor:
        shares = [share(place, size) for place in range(size)]

        def work(worker: Worker) -> torch.Tensor:
            mine = gradients[list(shares[worker.rank])]
            total = torch.full((101,), math.nan)
            if in_order:
                sum_in_order(worker.group.link, mine, total, shares)
                return total
            return worker.group.all_reduce(mine.sum(0))

        results = World(size).run(work)
        assert all(torch.equal(result, results[0]) for result in results.values())
        return results[0]

    one = summed(1, in_order=True)
    torch.testing.assert_close(one, gradients.sum(0))
    for size in range(2, 11):
        assert torch.equal(summed(size, in_order=True), one), f"{size} ranks"
    # Otherwise this test would prove nothing: added in the order of the ring, the bits do differ.
    assert any(not torch.equal(summed(size, in_order=False), one) for size in range(2, 9))


# -- training


@pytest.mark.usefixtures("plain")
def test_in_order_training_ends_with_the_same_bits_for_every_world_size() -> None:
    hashes = set()
    for size in (1, 2, 3, 4):
        results = World(size).run(partial(training, algorithm="in_order"))
        hashes |= {(r["hash"], r["loss"], r["accuracy"]) for r in results.values()}
    assert len(hashes) == 1


@pytest.mark.usefixtures("plain")
def test_ring_training_agrees_on_all_ranks_and_up_to_rounding_between_world_sizes() -> None:
    alone = World(1).run(training)[0]
    for size in (2, 3, 4):
        results = World(size).run(training)
        assert len({result["hash"] for result in results.values()}) == 1
        assert results[0]["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert results[0]["steps"] == 6


@pytest.mark.usefixtures("plain")
def test_without_orders_to_continue_every_survivor_hears_who_is_lost() -> None:
    results = World(3).run(training, at_step=dies_at({1: 2}))
    assert isinstance(results[1], Died)
    for survivor in (0, 2):
        assert isinstance(results[survivor], PeerLost)
        assert results[survivor].rank == 1


@pytest.mark.parametrize("deaths", [{2: 3}, {0: 1}, {1: 2, 3: 2}, {0: 1, 1: 2, 2: 5}, {3: 6}])
@pytest.mark.usefixtures("plain")
def test_the_survivors_end_with_the_weights_of_a_run_without_deaths(deaths: dict[int, int]) -> None:
    undisturbed = World(1).run(partial(training, algorithm="in_order"))[0]
    work = partial(training, algorithm="in_order", on_loss="continue")
    results = World(4).run(work, at_step=dies_at(deaths))
    for rank, result in results.items():
        if rank in deaths:
            assert isinstance(result, Died)
        else:
            same = ("loss", "accuracy", "steps", "hash")
            assert {k: result[k] for k in same} == {k: undisturbed[k] for k in same}


@pytest.mark.usefixtures("plain")
def test_a_survivor_that_lacks_a_step_gets_it_from_one_that_has_it() -> None:
    """Rank 2 dies before the last message of the third all-reduce, which was for rank 0."""
    undisturbed = World(3).run(training)[0]
    world = World(3, tell_at_once=False)
    steps: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def at_step(worker: Worker, step: int) -> None:
        steps[worker.rank].append(step)
        if (worker.rank, step) == (1, 3):
            world.tell(2)  # not before rank 1 has applied what rank 0 never got

    count = 2 + 3 * 4  # the agreement before the first step, then four transfers a step
    work = partial(training, on_loss="continue")
    results = world.run(work, at_step=at_step, at_link=dies_before_message(2, count))
    assert isinstance(results[2], Died)
    assert steps[0] == [1, 2, 4, 5, 6]
    assert steps[1] == [1, 2, 3, 4, 5, 6]
    assert results[0]["hash"] == results[1]["hash"]
    assert results[0]["loss"] == pytest.approx(undisturbed["loss"], rel=1e-4)


@pytest.mark.usefixtures("plain")
def test_a_death_while_the_survivors_agree() -> None:
    """Rank 0 dies at step 2, and rank 3 at its first message in the view that follows."""
    work = partial(training, on_loss="continue", algorithm="in_order")
    at_link = dies_before_message(3, 1, number=2)
    results = World(4).run(work, at_step=dies_at({0: 2}), at_link=at_link)
    assert isinstance(results[0], Died)
    assert isinstance(results[3], Died)
    assert results[1]["hash"] == results[2]["hash"]
    assert results[1]["hash"] == World(1).run(partial(training, algorithm="in_order"))[0]["hash"]


def test_the_state_of_one_member_reaches_all() -> None:
    def work(worker: Worker) -> tuple[int, dict[str, int], str]:
        model = nn.Linear(3, 2)
        state = State(model, momentum(model.parameters(), 0.1), Sampler(10, 4, seed=0))
        if worker.rank == 1:
            model(torch.ones(1, 3)).sum().backward()
            state.optimizer.step()
            state.sampler.advance()
            state.step = 1
        catch_up(worker.group, state)
        buffers = [s["momentum_buffer"] for s in state.optimizer.state.values()]
        assert len(buffers) == 2
        return state.step, state.sampler.state(), fingerprint(model)

    results = World(3).run(work)
    assert results[0] == results[1] == results[2]
    assert results[0][:2] == (1, {"epoch": 0, "position": 4})


@pytest.mark.parametrize("ahead", [3, 2])
def test_wrong_weights_are_not_handed_on_to_who_comes(ahead: int) -> None:
    """Of rank 0, which would be the first to give: of three that are ahead the other two decide,
    of two nobody can."""

    right = models.build("cnn")

    def work(worker: Worker) -> str:
        model = copy.deepcopy(right)
        state = State(model, momentum(model.parameters(), 0.1), Sampler(10, 4, seed=0))
        state.step = 1 if worker.rank < ahead else 0
        if worker.rank == 0:
            corruption.flip_bit(next(model.parameters()), 23)
        catch_up(worker.group, state, wary=True)
        return fingerprint(model)

    results = World(4).run(work)
    if ahead == 3:
        assert set(results.values()) == {fingerprint(right)}
    else:
        assert {type(result) for result in results.values()} == {corruption.Disagreement}


def test_a_state_travels_between_two_and_no_third_one_carries_or_keeps_it() -> None:
    """Of four members place 2 is behind: bytes on the links of places 0 and 2, and hardly any on
    the others'."""

    def work(worker: Worker) -> tuple[int, int, int]:
        model = nn.Linear(300, 300)
        state = State(model, momentum(model.parameters(), 0.1), Sampler(10, 4, seed=0))
        state.step = 0 if worker.rank == 2 else 1
        traffic = worker.group.link.traffic
        catch_up(worker.group, state)
        return state.step, traffic.sent_bytes, traffic.received_bytes

    size = 4 * 300 * 301
    for rank, (step, sent, received) in World(4).run(work).items():
        assert step == 1
        assert (sent > size) == (rank == 0)
        assert (received > size) == (rank == 2)
        assert sent < 1.1 * size + 10_000


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"model": "resnet"}, "use one of cnn, gpt"),
        ({"shards": 0}, "use 1 or more"),
        ({"batch": 0}, "use 1 or more"),
        ({"on_loss": "ignore"}, 'use "stop" or "continue"'),
    ],
)
def test_a_wrong_setting_is_refused_with_advice(settings: dict[str, Any], advice: str) -> None:
    results = World(1).run(partial(train, **settings))
    assert isinstance(results[0], ValueError)
    assert advice in str(results[0])


# -- scaling


def test_learning_rate_rules_and_schedules() -> None:
    assert scaling.linear(0.1, 4) == pytest.approx(0.4)
    assert scaling.square_root(0.1, 4) == pytest.approx(0.2)
    assert [scaling.warm_up(4)(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    cosine = scaling.cosine(total=12, warm=2)
    assert cosine(0) == 0.5
    assert cosine(2) == 1
    assert cosine(7) == pytest.approx(0.5)
    assert cosine(12) == pytest.approx(0)
    assert scaling.effective_batch(32, ranks=4, accumulation=2) == 256
    assert scaling.speed_up(0.9, 10**9) == pytest.approx(10)


def test_what_top_k_leaves_out_is_sent_later() -> None:
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(40, 100, generator=generator)
    top, sent = scaling.TopK(0.05), torch.zeros(100)
    for gradient in gradients:
        values, places = top.compress(gradient)
        assert len(values) == 5
        sent += scaling.decompress(values, places, 100)
    torch.testing.assert_close(sent + top.left, gradients.sum(0), rtol=1e-4, atol=1e-4)


def test_eight_bits_are_off_by_half_a_step_at_most() -> None:
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(2))
    entries, step = scaling.quantise(gradient)
    assert entries.dtype == torch.int8
    assert (scaling.dequantise(entries, step) - gradient).abs().max() <= step / 2 * 1.001
    zeros, step = scaling.quantise(torch.zeros(3))
    assert torch.equal(scaling.dequantise(zeros, step), torch.zeros(3))


# -- overlap


def test_buckets_on_paper_travel_one_at_a_time_and_not_before_they_are_full() -> None:
    """Two ranks, 10 bytes a second: a bucket of 30 bytes takes 3 s."""
    ready = [(1.0, 10), (2.0, 20), (3.0, 10), (9.0, 10), (10.0, 50)]
    step = on_paper(ready, Wire(alpha=0.0, beta=0.1), ranks=2, bucket_bytes=30)
    assert step.sizes == [30, 20, 50]
    assert step.full == [2.0, 9.0, 10.0]
    assert step.travel == [(2.0, 5.0), (9.0, 11.0), (11.0, 16.0)]
    assert (step.backward, step.end) == (10.0, 16.0)


def test_the_picture_of_overlap_has_a_bar_for_each_bucket() -> None:
    ready = [(0.001, 100), (0.002, 100), (0.003, 100)]
    ways = {"two": 200, "one": 300}
    steps = {n: on_paper(ready, Wire(1e-3, 0.0), 2, size) for n, size in ways.items()}
    bars = [bar.get_gid() for bar in overlap(steps).axes[0].patches]
    assert bars == ["backward", "bucket:200", "bucket:100", "backward", "bucket:300"]


# -- on a real cluster


@pytest.fixture
def cluster_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Cluster]:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    return partial(Cluster, backend="gloo", device="cpu")


def test_four_ranks_learn_to_read_digits(cluster_of: Callable[[int], Cluster]) -> None:
    with cluster_of(4) as cluster:
        results = cluster.run(train).wait(timeout=150).results  # takes 2 s, is to take 15
    assert results[0]["accuracy"] >= 0.95
    assert len({result["hash"] for result in results.values()}) == 1


@pytest.mark.case(1)
@pytest.mark.parametrize("algorithm", ["ring", "builtin", "in_order"])
def test_a_killed_rank_costs_its_help_and_nothing_else(
    cluster_of: Callable[[int], Cluster], algorithm: str
) -> None:
    """Dropout included: two ranks without a death and four with one see the same samples and draw
    the same numbers."""
    settings = {"steps": 12, "algorithm": algorithm, "on_loss": "continue", "bucket_bytes": 1 << 16}
    with cluster_of(2) as cluster:
        undisturbed = cluster.run(train, **settings).wait(timeout=60).results[0]
    with cluster_of(4) as cluster:
        plan = FaultPlan(At(Kill(2), point="backward", count=2 * 5 + 1))
        run = cluster.run(train, faults=plan, **settings).wait(timeout=60)
    assert run.deaths[2].step == 5
    assert sorted(run.results) == [0, 1, 3]
    for result in run.results.values():
        assert result["steps"] == 12
        assert result["hash"] == run.results[0]["hash"]
        assert result["loss"] == pytest.approx(undisturbed["loss"], rel=1e-3)
        if algorithm == "in_order":
            assert result["hash"] == undisturbed["hash"]


def test_a_step_under_the_magnifying_glass(cluster_of: Callable[[int], Cluster]) -> None:
    with cluster_of(2) as cluster:
        run = cluster.run(watch, model="cnn", bucket_bytes=1 << 15, steps=3).wait(timeout=60)
    for step in run.results.values():
        assert sum(step.sizes) == 4 * (38282 + TAIL + 2)
        assert len(step.full) == len(step.travel) == len(step.sizes) > 1
        assert step.full == sorted(step.full)
        assert step.full[0] < step.backward <= step.end
        for full, (begin, end) in zip(step.full, step.travel, strict=True):
            assert full <= begin < end


def test_a_small_gpt_learns(cluster_of: Callable[[int], Cluster]) -> None:
    with cluster_of(2) as cluster:
        results = cluster.run(train, model="gpt", steps=40).wait(timeout=150).results
    assert results[0]["hash"] == results[1]["hash"]
    assert results[0]["test_loss"] < 3.0  # by the frequency of each character alone: 3.04
