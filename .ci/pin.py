"""Writes constraints.txt anew: the newest versions that pyproject.toml allows, of everything.

    .venv/bin/python .ci/pin.py torch==2.13.0      with torch held where it is

Run it on Linux with the oldest Python that labkit supports, then `make test`. The result serves
Python 3.11 to 3.14 on Linux and macOS; where a package differs, it is by a line that the other
platform ignores.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = ["appnope"]  # ipykernel requires it on macOS

HEADER = """\
# Exact versions of everything that pyproject.toml asks for, and of what that requires, on Linux and
# macOS: written by .ci/pin.py. Only what a platform needs is installed there.
"""


def resolve(requirements: list[str]) -> dict[str, str]:
    """{name: version} that pip would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
    # A local folder of wheels may hold a CPU build of torch, which hides what CUDA needs.
    settings = os.environ | {"PIP_FIND_LINKS": ""}
    answer = subprocess.run(
        [*command, "--ignore-installed", *requirements],
        env=settings,
        stdout=subprocess.PIPE,
        check=True,
    )
    found = [item["metadata"] for item in json.loads(answer.stdout)["install"]]
    return {item["name"]: item["version"].split("+")[0] for item in found}


def main(held: list[str]) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    pins = resolve([*wanted, *pyproject["build-system"]["requires"], *ELSEWHERE, "pip", *held])
    lines = [f"{name}=={pins[name]}" for name in sorted(pins, key=str.lower)]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
