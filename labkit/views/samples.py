"""What a model learns from, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.views import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_rows(images: Any, columns: int = 20, title: str = "") -> Figure:
    """Grey images [N, 1, h, w] in rows of `columns`, dark on white, from left to right."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    figure = style.figure(9.0, 0.45 + 9.0 / columns * rows * height / width)
    figure.suptitle(title, x=0.01, ha="left", size=style.TITLE, weight="bold", family=style.FONT)
    top = 1 - 0.4 / figure.get_size_inches()[1]
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        box = (column / columns, top * (1 - (row + 1) / rows), 0.9 / columns, 0.9 * top / rows)
        axes = figure.add_axes(box)
        axes.imshow(image[0], cmap="Greys", vmin=0, vmax=1)
        axes.axis("off")
    return figure
