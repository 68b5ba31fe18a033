"""Peers that the lab does not depend on: put into a temporary folder by pip, for one bench."""

from __future__ import annotations

import subprocess
import sys


def install(package: str, where: str) -> str:
    """Installs `package` (name==version) into the folder `where`; what pip said if it could not."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", where]
    answer = subprocess.run([*pip, package], capture_output=True, text=True, timeout=120)
    if answer.returncode == 0:
        return ""
    return (answer.stderr.strip() or "pip failed").splitlines()[-1]
