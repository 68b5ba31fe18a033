"""What a checkpoint costs, in two pictures: what they show."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.reliability.young_daly import young_interval
from labkit.views import saving


def bars(figure: Any) -> dict[str, float]:
    """Their lengths by name."""
    return {bar.get_gid(): bar.get_width() for bar in figure.axes[0].patches if bar.get_gid()}


def test_a_bar_says_how_long_training_stands_still_and_when_it_is_durable() -> None:
    ways = {"torch.save": (0.4, 0.4), "ours": (0.002, 0.3), "raw": (0.0, 0.25)}
    figure = saving.stalls(ways, "who waits")
    assert bars(figure) == pytest.approx(
        {
            "durable:torch.save": 400, "stall:torch.save": 400, "durable:ours": 300,
            "stall:ours": 2, "durable:raw": 250, "stall:raw": 0,
        }
    )  # fmt: skip
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["stands still 400 ms", "stands still 2 ms", "250 ms"]


def test_measured_points_lie_on_the_picture_of_the_formula() -> None:
    figure = saving.intervals([(0.01, 0.5), (0.1, 0.8), (1.0, 0.4)], 0.01, 0.4, "how often")
    lines = {line.get_gid(): line for line in figure.axes[0].lines}
    assert list(lines["measured"].get_ydata()) == [50, 80, 40]
    curve = lines["daly"]
    best = curve.get_xdata()[curve.get_ydata().argmax()]
    young = lines["young"].get_xdata()[0]
    assert young == pytest.approx(young_interval(0.01, 0.4))
    assert 0.8 < best / young < 1.0, "Young's is a little longer than the exact one"
    assert any("89.4 ms" in text.get_text() for text in figure.axes[0].texts)
