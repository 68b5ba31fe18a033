"""Opens JupyterLab on the first notebook, or on a headless machine says where it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from labkit.notebooks import NOTEBOOKS, REPOSITORY, find
from labkit.notebooks.desk import lay_out

SETTINGS = Path(__file__).parent / "jupyterlab"


def start(port: int | None = None) -> None:
    """Becomes the JupyterLab process, which prints its address with the token of the day."""
    desk = REPOSITORY / "my-notebooks"
    for sentence in lay_out(NOTEBOOKS, desk):
        print(sentence)
    first = desk / find([], NOTEBOOKS)[0].name
    print(
        f"JupyterLab starts on {first.relative_to(REPOSITORY)}, your own copy of notebooks/. "
        "Ctrl-C here ends it."
    )
    if headless():
        print(
            "No browser on this machine: open the address below. From another computer, first "
            "forward its port: ssh -L PORT:127.0.0.1:PORT this-machine"
        )
    sys.stdout.flush()
    command = [sys.executable, "-m", "jupyterlab", *options(first, port)]
    os.execv(command[0], command)


def options(notebook: Path, port: int | None) -> list[str]:
    """What `jupyter lab` is told. Authentication is not among it: the token stays on."""
    chosen = [
        f"--ServerApp.root_dir={REPOSITORY}",
        f"--LabApp.default_url=/lab/tree/{notebook.relative_to(REPOSITORY).as_posix()}",
        f"--LabApp.app_settings_dir={SETTINGS}",
        # Else the tabs that were open last come back: in the user's other projects, perhaps.
        f"--LabApp.workspaces_dir={REPOSITORY / 'runs/.jupyterlab/workspaces'}",
        "--log-level=WARN",  # the address is printed at any level
        "--ServerApp.answer_yes=True",  # Ctrl-C is meant
        f"--port={port or 0}",
    ]
    if port is not None:
        chosen.append("--ServerApp.port_retries=0")  # that port or an error, for who forwards it
    if headless():
        chosen.append("--no-browser")
    if os.geteuid() == 0:
        chosen.append("--allow-root")
    return chosen


def headless() -> bool:
    """True where no window could open. A text browser, which Python would find, is none."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" in os.environ
    return not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
