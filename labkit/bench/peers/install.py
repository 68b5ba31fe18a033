"""Peers that the lab does not depend on: put into a temporary folder by pip, for one bench."""

from __future__ import annotations

import os
import subprocess
import sys


def install(package: str, where: str, needs: bool = False) -> str:
    """Installs `package` (name==version) into the folder `where`, without what it needs or, asked
    to, with it; what pip said if it could not."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", where]
    alone = [] if needs else ["--no-deps"]  # most need torch, which is here
    answer = subprocess.run([*pip, *alone, package], capture_output=True, text=True, timeout=120)
    if answer.returncode == 0:
        return ""
    return (answer.stderr.strip() or "pip failed").splitlines()[-1]


def importing(where: str) -> dict[str, str]:
    """What makes a program find what was installed there."""
    path = [where, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}
