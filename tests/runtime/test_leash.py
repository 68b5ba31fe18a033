"""What becomes of a program that starts workers, when its driver goes and when it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

IMPATIENT = "import os, sys; from labkit.runtime.launch import leash; leash.PATIENCE = 0.3; "
RUN = "status = leash.main(*sys.argv[1:]); "


class Held:
    """A line of shell on a leash whose driver is this test."""

    def __init__(self, folder: Path, line: str, then: str) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT + RUN + then, self.files, "sh", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> str:
        """What it and its children say until the last of them has ended, and closed the pipe."""
        return self.process.communicate(timeout=10)[0].strip()


Hold = Callable[..., Held]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    held = []

    def start(line: str, then: str = "sys.exit(status)") -> Held:
        held.append(Held(tmp_path, line, then))
        return held[0]

    yield start
    held[0].process.kill()
    held[0].process.wait()


@pytest.mark.parametrize(
    ("line", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 128 + 9), ("cat", 0)]
)
def test_a_program_ends_by_itself_and_its_driver_is_told_how(
    hold: Hold, line: str, status: int
) -> None:
    """`cat` would not end if it had the leash for its input."""
    held = hold(line)
    assert held.process.wait(20) == status
    assert not held.files.exists()


def test_a_program_that_has_ended_keeps_its_number_while_it_can_be_struck(hold: Hold) -> None:
    """When its leash is done with it, it has still not been waited for; so the kernel has not given
    its number to another."""
    held = hold("exit 3", "end = os.waitid(os.P_ALL, 0, os.WEXITED); print(end.si_status)")
    assert held.say() == "3"


def test_a_program_whose_driver_is_gone_is_asked_to_end(hold: Hold) -> None:
    held = hold("trap 'echo asked; exit 5' TERM; echo on; while :; do sleep 0.01; done")
    assert held.say() == "on"
    assert held.let_go() == "asked"
    assert held.process.returncode == 5
    assert not held.files.exists()


AGENT = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def start():
    os.posix_spawnp("sleep", ["sleep", "30"], os.environ)
for _ in range(100):
    start()
print("on", flush=True)
while os.wait():
    start()
"""


def test_one_that_does_not_want_to_is_ended_with_its_children(hold: Hold) -> None:
    """It starts another as soon as one has ended, as torchrun's agent does."""
    held = hold(f"exec {sys.executable} -c '{AGENT}'")
    assert held.say() == "on"
    held.let_go()
    assert held.process.returncode == 128 + 9
    assert not held.files.exists()


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labkit.runtime.launch.leash", tmp_path, "no-such-program"]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert said.returncode == 127
    assert "no-such-program cannot be started" in said.stderr
