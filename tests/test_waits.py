"""The picture of who waits for whom, in notebook 05."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit.views.waits import cycle, waits_for


def test_the_ranks_of_a_cycle_and_nobody_when_somebody_can_go_on():
    assert cycle({0: 1, 1: 2, 2: 1}) == [1, 2]
    assert cycle({0: 1, 1: None}) == []


def drawn(arrow):
    """Points of an arrow, in pixels."""
    path = arrow.get_transform().transform_path(arrow.get_path())
    return [point for line in path.to_polygons(closed_only=False) for point in line]


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_no_arrow_goes_through_the_words_in_the_middle(ranks):
    graph = {rank: (rank + 1) % ranks for rank in range(ranks)}
    figure = waits_for(graph, why="send\nbefore\nreceive")
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    arrows = [text.arrow_patch for text in axes.texts if hasattr(text, "arrow_patch")]
    (words,) = [text for text in axes.texts if "send" in text.get_text()]
    box = words.get_window_extent(renderer)
    points = [point for arrow in arrows for point in drawn(arrow)]
    assert len(arrows) == ranks
    assert not any(box.contains(*point) for point in points)
