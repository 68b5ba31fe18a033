"""Pictures are small, quick, and legible with any colour vision; their words have places."""

import io
import re
import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pytest
import synthetic
from pictures import rgb
from PIL import Image

from labkit.views import style
from labkit.views.labels import Hanging, pack, spread, width_of
from labkit.views.panel.front import STATIC
from labkit.views.timeline import timeline


@pytest.fixture(scope="module")
def picture():
    return timeline(synthetic.typical(4), title="A kill, a restart and a pause")


def test_a_typical_picture_is_small_and_quick(picture):
    timeline(synthetic.typical(4))  # fonts are found once a process
    begin = time.monotonic()
    png = timeline(synthetic.typical(4)).png()
    assert time.monotonic() - begin < 10  # takes 0.4 s on the reference
    assert len(png) <= 60_000
    shown, how = picture._repr_png_()
    assert shown == picture.png()
    assert how == {"width": round(style.PIXELS * Image.open(io.BytesIO(shown)).width / style.DPI)}
    assert repr(picture) == repr(timeline([]))  # a stored notebook does not depend on the run
    assert Image.open(io.BytesIO(png)).mode == "P"


def test_the_palette_keeps_every_meaning(picture):
    shown = np.asarray(Image.open(io.BytesIO(picture.png())).convert("RGB")).reshape(-1, 3)
    colours = {tuple(c) for c in np.unique(shown, axis=0).tolist()}
    for name in ("computing", "all reduce", "restoring", "checkpoint"):
        assert tuple(round(255 * c) for c in rgb(style.LOOKS[name].colour)) in colours, name


def test_the_inline_backend_stores_the_same_small_picture(picture):
    pylabtools = pytest.importorskip("IPython.core.pylabtools")
    png = pylabtools.print_figure(picture, fmt="png", bbox_inches="tight")
    assert len(png) <= 60_000
    assert Image.open(io.BytesIO(png)).mode == "P"


def test_a_picture_can_be_saved_larger_and_as_svg(picture, tmp_path):
    picture.savefig(tmp_path / "slide.png", dpi=300)
    assert Image.open(tmp_path / "slide.png").size[0] == 3300
    picture.savefig(tmp_path / "run.svg")
    assert "activity:computing" in (tmp_path / "run.svg").read_text()


def test_importing_the_views_does_not_load_pyplot():
    rooms = "timeline chrome collectives curves status progress style"
    code = "import sys, labkit.views\n"
    code += "".join(f"import labkit.views.{r}\n" for r in rooms.split())
    code += "from labkit.views.timeline import timeline; timeline([])\n"
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Severity 1.0 of G. Machado, M. Oliveira, L. Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009; on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ]
    ),
}


def lab(colour, vision):
    """CIE L*a*b* of a colour as seen with that vision."""
    c = rgb(colour)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(vision @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", VISION)
def test_activities_are_told_apart_with_any_colour_vision(kind):
    """At least 15 in CIE76, six times a just noticeable difference, unless a hatch tells them."""
    shown = {n: look for n, look in style.LOOKS.items() if n != "paused"}
    for (a, first), (b, second) in combinations(shown.items(), 2):
        if first.hatch == second.hatch:
            seen = lab(first.colour, VISION[kind]) - lab(second.colour, VISION[kind])
            assert np.linalg.norm(seen) > 15, f"{a} and {b} look alike with {kind}"


def contrast(one, other):
    """W3C, "Web Content Accessibility Guidelines" 2.1."""
    low, high = sorted((style.luminance(one), style.luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", [style.PAPER, "#111111"])  # JupyterLab's light and dark theme
@pytest.mark.parametrize("rank", range(8))
def test_a_ranks_line_is_seen_on_a_light_and_on_a_dark_page(rank, page):
    assert contrast(style.rank_colour(rank), page) >= 3.0


def test_the_panels_signals_are_seen_on_a_light_and_on_a_dark_page():
    found = re.findall(r"--(?:fault|view|saved): (#\w{6})", (STATIC / "panel.css").read_text())
    light, dark = found[:3], found[3:]
    assert len(dark) == 3
    assert min(contrast(colour, style.PAPER) for colour in light) >= 3.0
    assert min(contrast(colour, "#111111") for colour in dark) >= 3.0


@pytest.mark.parametrize("kind", VISION)
def test_ranks_are_told_apart_with_any_colour_vision(kind):
    seen = [lab(style.rank_colour(rank), VISION[kind]) for rank in range(8)]
    for (a, first), (b, second) in combinations(enumerate(seen), 2):
        assert np.linalg.norm(first - second) > 15, f"ranks {a} and {b} look alike with {kind}"


def test_words_are_dark_enough_on_paper():
    for colour in (style.ORANGE, style.SKY, style.YELLOW, style.PURPLE, style.GREEN):
        assert 1.05 / (style.luminance(style.words(colour)) + 0.05) >= 4.5


# ---- placing labels ----------------------------------------------------------------------------


def test_labels_are_packed_into_rows_without_touching():
    labels = [Hanging(0.1 * i, 1.0) for i in range(8)]
    spots = pack(labels, 0.0, 3.0, rows=8)
    assert None not in spots
    for (x, row), (y, other) in combinations(spots, 2):
        assert row != other or abs(x - y) >= 1.0


def test_a_label_without_room_is_not_placed():
    assert pack([Hanging(0.5, 1.0)] * 3, 0.0, 1.2, rows=2).count(None) == 1
    assert pack([Hanging(0.5, 5.0)], 0.0, 3.0, rows=4) == [None]


def test_labels_are_spread_in_their_order():
    assert spread([0.5, 0.5, 0.9], 0.1, 0.0, 1.0) == pytest.approx([0.6, 0.5, 0.9])
    assert spread([0.95, 1.0], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0])


def test_text_is_measured():
    assert width_of("rank 10") > width_of("rank 1") > 0.3
    assert width_of("a\nlonger") == width_of("longer")
