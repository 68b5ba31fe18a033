"""Takes the README's picture of the panel: `python -m tests.browser.picture`.

Notebook 00's own cells and clicks on its panel's buttons: a rank is killed and brought back within
the last seconds that the diagram shows.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from labkit.views.canvas import small_png
from labkit.views.style import DPI

from .pages import CHROMIUM, ROOT, SECONDS, Lab, Notebook

PICTURE = ROOT / "notebooks" / "pictures" / "panel.png"
SCRIPT = [(3.0, "kill rank 2"), (7.0, "restart rank 2")]
"""Seconds from the run's beginning, and the button."""
END = 12.0
SHARP = 2
"""Pixels of the picture for one of the page: for fine screens."""
COLOURS = 128


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            name = lab.take("00")
            viewport = {"width": 1320, "height": 1150}
            page = browser.new_page(viewport=viewport, device_scale_factor=SHARP)
            page.set_default_timeout(1000 * SECONDS)
            page.goto(lab.address(name))
            page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
            shot = after_some_clicks(Notebook(page, lab.folder / name))
        finally:
            browser.close()
            lab.close()
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
    PICTURE.write_bytes(small_png(pixels, COLOURS, DPI))


def after_some_clicks(book: Notebook) -> bytes:
    at = book.find("cluster.panel()")
    for i in book.code(0, at + 1):
        book.run(i)
    book.done(at)
    panel = book.panel
    panel.locator("xpath=self::*[@data-run='2' and @data-now]").wait_for()
    begin = float(panel.get_attribute("data-now"))
    passed = "([panel, time]) => Number(panel.dataset.now) >= time"
    for seconds, button in SCRIPT:
        book.page.wait_for_function(passed, arg=[panel.element_handle(), begin + seconds])
        panel.get_by_role("button", name=button).click()
    book.page.wait_for_function(passed, arg=[panel.element_handle(), begin + END])
    book.page.mouse.move(0, 0)
    panel.evaluate("() => document.activeElement.blur()")
    return panel.screenshot()


if __name__ == "__main__":
    main()
