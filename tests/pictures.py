"""What a test asks of a picture: what is written in it, where, and which marks it has."""

from itertools import combinations

import numpy as np
from matplotlib.text import Text

from labkit.events import Event


def words(figure):
    """What is written in the picture, with the box of each text in pixels."""
    drawn, draw = [], Text.draw

    def listen(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn.append((self.get_text(), self.get_window_extent(renderer)))
        draw(self, renderer)

    Text.draw = listen
    try:
        figure.canvas.draw()
    finally:
        Text.draw = draw
    return drawn


def assert_legible(figure):
    """No text touches another or leaves the picture."""
    drawn = words(figure)
    for text, box in drawn:
        inside = box.x0 >= -1 and box.y0 >= -1
        inside = inside and box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1
        assert inside, f"{text!r} is cut off"
    for (a, first), (b, second) in combinations(drawn, 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert wide <= 1 or high <= 1.5, f"{a!r} lies on {b!r}"


def with_gid(figure, start):
    return [a for a in figure.findobj() if str(a.get_gid() or "").startswith(start)]


def gids(figure, start):
    return sorted({a.get_gid() for a in with_gid(figure, start)})


def text_of(figure, gid):
    (label,) = with_gid(figure, gid)
    return label.get_text()


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def run_of(*told):
    """Events from (time, rank, kind, name, data)."""
    return [Event(t, i, r, k, n, data=d) for i, (t, r, k, n, d) in enumerate(told)]
