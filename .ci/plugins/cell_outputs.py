"""For pytest: what a notebook's cell that failed has printed; nbval names only the kind of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

SHOWN = 4000  # characters


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for output in getattr(item, "test_outputs", None) or []:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            name = output.get("name", output["output_type"])
            report.sections.append((f"the cell's {name}", text[:SHOWN]))
    return report
