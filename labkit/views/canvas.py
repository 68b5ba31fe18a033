"""A matplotlib figure that shows itself in a notebook as a small PNG, without pyplot.

pyplot keeps every figure alive until it is closed and shows it a second time at the end of the
cell; a plain `Figure` does neither. Its PNG is written with a palette: flat colours and text need
no more than 128 colours, and a picture of a run takes a third of the bytes, which counts in a
notebook that is stored under version control.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from labkit.views import style

LIMIT = 60_000
"""Bytes of a picture in a stored notebook; a larger one gets fewer colours, then fewer dots."""


class PaletteCanvas(FigureCanvasAgg):
    """Agg, but a PNG (of `savefig`, and of the notebook's inline backend) has a palette."""

    def print_figure(  # type: ignore[override]
        self, filename: Any, dpi: Any = None, format: Any = None, **how: Any
    ) -> Any:
        """A PNG over the limit is drawn again with two thirds of the dots; other formats are not.

        Who asks for more dots than the figure has gets them, whatever the size.
        """
        name = str(format or "" if hasattr(filename, "write") else format or Path(filename).suffix)
        if name.lstrip(".").lower() not in ("", "png") or dpi not in (
            None,
            "figure",
            self.figure.dpi,
        ):
            return super().print_figure(filename, dpi=dpi, format=format, **how)
        for dots in (self.figure.dpi, self.figure.dpi * 2 / 3):
            file = io.BytesIO()
            super().print_figure(file, dpi=dots, format="png", **how)
            if file.tell() <= LIMIT:
                break
        if hasattr(filename, "write"):
            filename.write(file.getvalue())
        else:
            Path(filename).with_suffix(Path(filename).suffix or ".png").write_bytes(file.getvalue())
        return None

    def print_png(self, filename_or_obj: Any, **unused: Any) -> None:
        FigureCanvasAgg.draw(self)
        pixels = _opaque(self.buffer_rgba())
        data = small_png(pixels, 128, self.figure.dpi)
        if len(data) > LIMIT:
            data = small_png(pixels, 64, self.figure.dpi)
        if hasattr(filename_or_obj, "write"):
            filename_or_obj.write(data)
        else:
            Path(filename_or_obj).write_bytes(data)


def small_png(pixels: np.ndarray, colours: int, dpi: float) -> bytes:
    """The most frequent colours stay exactly as they are, the others become the nearest of them.

    Flat areas are frequent and the edges of letters are not: what a colour means is never lost.
    """
    packed = (pixels.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(2, dtype=np.uint32)
    found, where, often = np.unique(packed, return_inverse=True, return_counts=True)
    kept = found[np.sort(np.argsort(-often, kind="stable")[:colours])]
    table = np.stack([kept >> 16, kept >> 8 & 255, kept & 255], 1).astype(np.uint8)
    every = np.stack([found >> 16, found >> 8 & 255, found & 255], 1).astype(np.int32)
    nearest = ((every[:, None] - table[None].astype(np.int32)) ** 2).sum(2).argmin(1)
    picture = Image.fromarray(nearest[where].reshape(packed.shape).astype(np.uint8), "P")
    picture.putpalette(table.tobytes())
    file = io.BytesIO()
    picture.save(file, "png", optimize=True, dpi=(dpi, dpi))
    return file.getvalue()


def _opaque(rgba: Any) -> np.ndarray:
    """Pixels laid on white paper, so that the picture is legible on a dark page too."""
    pixels = np.asarray(rgba)
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)


class LabFigure(Figure):
    """A figure at the lab's resolution that a notebook shows without `%matplotlib` or pyplot."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(dpi=style.DPI, facecolor=style.PAPER, **settings)
        PaletteCanvas(self)

    def png(self) -> bytes:
        """The picture as the bytes of a PNG, cropped to what is drawn."""
        file = io.BytesIO()
        self.savefig(file, format="png", bbox_inches="tight", pad_inches=0.08)
        return file.getvalue()

    def __repr__(self) -> str:
        """The same for every picture: a stored notebook also keeps what is printed of it."""
        return "<picture>"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """With its width on the page, so that words are equally large in every picture: without
        it a notebook would enlarge the narrow ones to the width of their cell."""
        data = self.png()
        with Image.open(io.BytesIO(data)) as picture:
            inches = picture.width / picture.info["dpi"][0]
        return data, {"width": round(style.PIXELS * inches)}
