"""A JupyterLab server, and a notebook that is open in a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import expect

from labkit.notebooks.lab import SETTINGS

SECONDS = 60.0
"""Until something is on the page: a kernel with a cluster on a busy machine needs a tenth of it."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "runs" / "screenshots"


class Lab:
    """A server whose files are those of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = folder / ".jupyter"
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(settings), "HOME": str(folder)}
        environment |= {"LABKIT_RUNS": str(folder / "runs"), "PYTHONPATH": str(ROOT)}
        options = ["--no-browser", "--port=0", "--ip=127.0.0.1", f"--ServerApp.root_dir={folder}"]
        options.append(f"--LabApp.app_settings_dir={SETTINGS}")
        if os.geteuid() == 0:
            options.append("--allow-root")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        lines = (line for line in self.process.stderr if "token=" in line)
        self.url, _, self.token = next(lines).split()[-1].partition("/lab?token=")

    def take(self, number: str) -> str:
        """Lays a copy of notebook `number` in the folder, as `make lab` does; its name."""
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        shutil.copy(path, self.folder / path.name)
        return path.name

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()

    def address(self, name: str) -> str:
        return f"{self.url}/lab/tree/{name}?token={self.token}&reset"


class Notebook:
    """An open notebook: `page` is Playwright's, `path` the file."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page, self.path = page, path
        self.cells = nbformat.read(path, 4).cells

    def find(self, text: str) -> int:
        """The first cell that says so."""
        return next(i for i, cell in enumerate(self.cells) if text in cell.source)

    def code(self, begin: int, end: int) -> list[int]:
        """The cells of code from `begin` up to `end`, which is not among them."""
        return [i for i in range(begin, end) if self.cells[i].cell_type == "code"]

    def cell(self, i: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(i)

    def run(self, i: int) -> None:
        """Runs a cell as a reader does, and does not wait for its end."""
        cell = self.cell(i)
        cell.scroll_into_view_if_needed()
        cell.locator(".jp-InputPrompt").click()
        active = "cell => cell.classList.contains('jp-mod-active')"
        self.page.wait_for_function(active, arg=cell.element_handle())
        self.page.keyboard.press("Control+Enter")

    def done(self, i: int) -> Any:
        """The cell's output, once it has run to its end."""
        cell = self.cell(i)
        ended = "cell => /^.\\d+.:$/.test(cell.querySelector('.jp-InputPrompt').textContent.trim())"
        self.page.wait_for_function(ended, arg=cell.element_handle())
        return cell.locator(".jp-OutputArea")

    def ran(self, i: int, count: int) -> None:
        """Waits until the kernel's execution number `count` is that of this cell."""
        prompt = self.cell(i).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(f"[{count}]:")

    def overlapping_words(self, seconds: float) -> list[str]:
        """Words of the panel's diagram that lie on each other in any picture drawn meanwhile."""
        return self.panel.locator("svg.events").evaluate(OVERLAPPING, seconds)

    def write(self, i: int, text: str) -> None:
        """Replaces the text of a cell, as a reader types or pastes it."""
        self.cell(i).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)

    def interrupt(self) -> None:
        self.page.locator('[data-command="notebook:interrupt-kernel"]').first.click()

    def dark(self) -> None:
        self.page.locator('.lm-MenuBar-itemLabel:text-is("Settings")').click()
        self.page.locator('.lm-Menu-itemLabel:text-is("Theme")').click()
        self.page.locator('.lm-Menu-itemLabel:text-is("JupyterLab Dark")').click()
        self.page.locator('body[data-jp-theme-light="false"]').wait_for(state="attached")

    @property
    def panel(self) -> Any:
        return self.page.locator(".labkit-panel")

    def keep(self, name: str) -> Path:
        """A screenshot of the panel, or of the page where there is none, below runs/."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        shown = self.panel if self.panel.count() else self.page
        shown.screenshot(path=str(path))
        return path


OVERLAPPING = """async (svg, seconds) => {
    const found = new Set();
    const end = performance.now() + 1000 * seconds;
    do {
        await new Promise(requestAnimationFrame);
        const texts = [...svg.querySelectorAll("text")];
        const boxes = texts.map((node) => [node, node.getBoundingClientRect()]);
        const shown = boxes.filter(([, box]) => box.width > 0);
        shown.forEach(([one, a], i) => {
            for (const [other, b] of shown.slice(i + 1)) {
                const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (wide > 1 && high > 1) found.add(`${one.textContent} on ${other.textContent}`);
            }
        });
    } while (performance.now() < end);
    return [...found];
}"""

Open = Callable[..., Notebook]
