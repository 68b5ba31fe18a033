"""The page that a run of notebooks leaves behind: one file, light and dark, from nowhere else."""

from __future__ import annotations

import os
import platform
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.notebooks.run import Outcome

THUMBNAILS = 6

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #5c6675;
  --line: #e0e4ea; --good: #00734f; --bad: #b8400a; --link: #0064a8; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --ink: #e6eaf0;
  --soft: #9aa5b4; --line: #2d3642; --good: #3fd0a0; --bad: #ff9a63; --link: #6fbdf5 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.75rem; letter-spacing: -.01em }
h2 { margin: 0; font-size: 1.15rem }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
.soft { color: var(--soft); font-size: .9rem }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: .9rem 0 1.6rem; padding: 0 }
.chips li { list-style: none; border: 1px solid var(--line); border-radius: 99px;
  padding: .05rem .7rem; font-size: .85rem; background: var(--card) }
.chips b { font-weight: 600 }
article { background: var(--card); border: 1px solid var(--line);
  border-left: 5px solid var(--good); border-radius: 10px; padding: 1.1rem 1.3rem;
  margin: 0 0 1rem }
article.failed { border-left-color: var(--bad) }
header.row { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline }
header.row .status { margin-left: auto; font-weight: 600; color: var(--good) }
.failed .status, .error { color: var(--bad) }
.error { margin: .5rem 0 0; font: .85rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr));
  gap: .7rem; margin: .9rem 0 0 }
.pictures a { display: block; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; overflow: hidden; height: 11rem }
.pictures img { display: block; width: 100%; height: 100%; object-fit: contain }
"""


def write_index(outcomes: list[Outcome], parameters: dict[str, Any], out: Path) -> Path:
    failed = sum(not outcome.passed for outcome in outcomes)
    total = sum(outcome.seconds for outcome in outcomes)
    plural = "" if len(outcomes) == 1 else "s"
    head = f"{len(outcomes)} notebook{plural}, {f'{failed} failed' if failed else 'passed'}"
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{head}: {escape(out.name)}</title><style>{STYLE}</style></head><body>
<h1>{head}</h1>
<div class="soft">{time.strftime("%d %B %Y, %H:%M")} · {total:.0f} s · {escape(_machine())}</div>
<ul class="chips">{_chips(parameters)}</ul>
{"".join(_card(outcome, out) for outcome in outcomes)}
</body></html>
"""
    path = out / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _machine() -> str:
    return f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _chips(parameters: dict[str, Any]) -> str:
    if not parameters:
        return "<li>each notebook's own parameters</li>"
    return "".join(
        f"<li>{escape(name)} = <b>{escape(str(value))}</b></li>"
        for name, value in parameters.items()
    )


def _card(outcome: Outcome, out: Path) -> str:
    title = escape(outcome.title or outcome.name)
    links = []
    if outcome.html is not None:
        title = f'<a href="{_link(outcome.html, out)}">{title}</a>'
    if outcome.notebook is not None:
        file = outcome.notebook
        links.append(f'<a href="{_link(file, out)}">{escape(file.name)}</a>')
    if outcome.metrics is not None:
        links.append(f'<a href="{_link(outcome.metrics, out)}">metrics</a>')
    links.append(f"{outcome.cells} code cells")
    if outcome.pictures:
        first = f", the first {THUMBNAILS} below" if len(outcome.pictures) > THUMBNAILS else ""
        links.append(f"{len(outcome.pictures)} picture{'s' * (len(outcome.pictures) > 1)}{first}")
    status = "passed" if outcome.passed else "failed"
    error = f'<p class="error">{escape(outcome.error)}</p>' if outcome.error else ""
    shown = "".join(_thumbnail(path, out) for path in outcome.pictures[:THUMBNAILS])
    return f"""<article class="{status}"><header class="row"><h2>{title}</h2>
<span class="status">{status} · {outcome.seconds:.1f} s</span></header>
<div class="soft">{" · ".join(links)}</div>{error}
{f'<div class="pictures">{shown}</div>' if shown else ""}</article>
"""


def _thumbnail(path: Path, out: Path) -> str:
    link = _link(path, out)
    name = escape(f"{path.parent.name}, picture {path.stem}")
    return f'<a href="{link}"><img src="{link}" alt="{name}" loading="lazy"></a>'


def _link(path: Path, out: Path) -> str:
    return escape(path.relative_to(out).as_posix(), quote=True)
