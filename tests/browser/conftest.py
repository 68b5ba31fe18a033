"""A real JupyterLab on loopback, and the system's Chromium that looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nbformat
import pytest

from .pages import CHROMIUM, SECONDS, Lab, Notebook, Open

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: `apt install chromium`")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * SECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def notebook(lab: Lab, chromium: Any) -> Iterator[Open]:
    """`notebook("name", *cells)` opens a new notebook with these cells of code, or the file `name`
    of the lab's folder."""
    pages = []

    def open_notebook(name: str, *cells: str) -> Notebook:
        if cells:
            book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
            book.metadata["kernelspec"] = KERNEL
            nbformat.write(book, lab.folder / name)
        context = chromium.new_context(viewport={"width": 1280, "height": 1150})
        pages.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.on("pageerror", lambda error: print("in the page:", error))
        page.goto(lab.address(name))
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
        return Notebook(page, lab.folder / name)

    yield open_notebook
    for context in pages:
        context.close()
