"""Every sample is learnt exactly once an epoch, whoever dies and comes back: the model counts them.

It has a weight for each row of the data, and its loss is the sum of the weights of a batch's rows:
so a step of SGD takes one from the weight of each row that it has learnt from, and the weights say
at the end how often that was. Sums of small whole numbers are exact in any order.
"""

from __future__ import annotations

from typing import Any

import pytest

from labkit import At, Cluster, FaultPlan, Kill, Restart

ROWS, BATCH, EPOCHS = 1024, 64, 6
PLAN = FaultPlan(
    At(Kill(1), step=20),
    At(Restart(1), step=24, on=0),
    At(Kill(0), step=50),
    At(Kill(2), step=50),
    At(Restart(0), step=53, on=3),
    At(Restart(2), step=53, on=3),
)


def count_rows(worker: Any, **job: Any) -> Any:
    """Trains a model that counts; its weights come back in place of their hash."""
    import torch
    from patient import patiently
    from torch import nn

    from labkit.training import loop, models, recipes
    from labkit.training.data import Data, Dataset

    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.learnt = nn.Parameter(torch.zeros(ROWS))

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.learnt[rows]

    def summed_loss(model: nn.Module, samples: Dataset) -> torch.Tensor:
        weights = model(samples.inputs)  # in value one each: a falling loss is no reason for alarm
        return (weights - weights.detach() + 1).sum()

    rows = Dataset(torch.arange(ROWS), torch.zeros(ROWS, dtype=torch.int64))
    recipe = recipes.Recipe(lambda: Data(rows, rows), BATCH, float(BATCH), EPOCHS, torch.optim.SGD)
    recipes.RECIPES["counter"] = recipe
    models.build = lambda name, seed: Counter()
    loop.summed_loss = summed_loss
    loop.fingerprint = lambda model: model.learnt.neg().tolist()
    return patiently(worker, model="counter", **job)


@pytest.mark.parametrize("job", [{}, {"exact": True}, {"redundancy": 2}, {"zero": True}], ids=str)
def test_every_row_is_learnt_once_an_epoch(job: dict[str, Any]) -> None:
    with Cluster(4) as cluster:
        run = cluster.run(count_rows, elastic=True, faults=PLAN, **job).wait()

    assert sorted(run.deaths) == [0, 1, 2]
    assert set(run.results) == {0, 1, 2, 3}
    for rank, result in run.results.items():
        assert result["hash"] == [EPOCHS] * ROWS, rank
