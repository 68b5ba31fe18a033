"""Whom the driver's signals strike."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labkit.runtime.launch.courier import Courier

LAST = Path("/proc/sys/kernel/ns_last_pid")
ALONE = ["unshare", "--pid", "--fork", "--mount-proc"]
"""Nobody else takes a number there."""
needs_numbers = pytest.mark.skipif(
    os.geteuid() != 0 or not LAST.exists() or shutil.which("unshare") is None,
    reason="needs root, unshare, and a kernel that can be told which process number comes next",
)
USED_AGAIN = f"""
import pathlib, signal, subprocess, sys
from labkit.runtime.launch.courier import program
from labkit.runtime.launch.launcher import Launcher
from labkit.runtime.launch.process import Process

class Elsewhere(Launcher):
    def here(self, host):
        return False

    def signal_there(self, pid):
        letter = (signal.SIGKILL, self._began["another", pid], pid)
        return subprocess.run(program(letter)).returncode  # as it arrives on that host

def start():
    talk = "from labkit.runtime.launch.courier import began; print(began(), flush=True); input()"
    pipes = {{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}}
    process = subprocess.Popen([sys.executable, "-c", talk], **pipes)
    process.began = int(process.stdout.readline())  # in hundredths of a second
    return process

def number_of(process):
    pathlib.Path("{LAST}").write_text(str(process.pid - 1))
    stranger = start()
    assert stranger.pid == process.pid, "another has the number"
    return stranger

def lives(process):
    process.communicate(b"\\n")
    return process.returncode == 0

worker, launcher, process = start(), Launcher(None), Process.__new__(Process)
assert launcher.meet("this one", worker.pid, worker.began)
process.began(worker.pid)
launcher.signal("this one", worker.pid, signal.SIGKILL)
assert worker.wait() == -signal.SIGKILL
stranger = number_of(worker)
process.end()
try:
    launcher.signal("this one", worker.pid, signal.SIGKILL)
except ProcessLookupError as error:
    print(error)
assert lives(stranger), "it was struck"

worker, launcher = start(), Launcher(None)
assert not launcher.meet("this one", worker.pid, worker.began + 1), "that of a container"
try:
    launcher.signal("this one", worker.pid, signal.SIGKILL)
except ProcessLookupError:
    assert lives(worker)

worker, launcher = start(), Elsewhere(None)
launcher.meet("another", worker.pid, worker.began)
assert launcher.signal_there(worker.pid) == 0
assert worker.wait() == -signal.SIGKILL
stranger = number_of(worker)
assert launcher.signal_there(worker.pid) != 0
assert lives(stranger), "it was struck on another host"
"""


@needs_numbers
def test_a_signal_is_for_the_worker_and_not_for_a_later_process_with_its_number() -> None:
    command = [*ALONE, sys.executable, "-c", USED_AGAIN]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    assert told.stdout.endswith("has ended\n")


def test_signals_for_another_host_arrive_in_the_order_in_which_they_were_sent() -> None:
    """A rank would stay paused for ever if it were told to go on first."""
    asked, all_there = threading.Event(), threading.Event()
    arrived: list[int] = []

    def run(command: list[str]) -> None:
        number = int(command[4])
        if number == signal.SIGSTOP:
            assert asked.wait(10)
        arrived.append(number)
        if number == signal.SIGTERM:
            all_there.set()

    courier = Courier(run)
    sent = [signal.SIGSTOP, signal.SIGCONT, signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM]
    for number in sent:
        courier.send((number, 1, 2))
    asked.set()
    assert all_there.wait(10)
    assert arrived == sent


def test_a_signal_that_is_on_its_way_is_not_sent_again() -> None:
    """A process is killed until it is gone, a hundred times a second."""
    come, gone = threading.Event(), threading.Event()
    arrived: list[int] = []

    def run(command: list[str]) -> None:
        assert come.wait(10)
        arrived.append(int(command[4]))
        if arrived[-1] == signal.SIGUSR1:
            gone.set()

    courier = Courier(run)
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGUSR1):
        courier.send((number, 1, 2))
    come.set()
    assert gone.wait(10)
    assert arrived == [signal.SIGKILL, signal.SIGUSR1]


def test_a_signal_that_cannot_be_carried_keeps_no_later_one_from_coming() -> None:
    arrived, come = list[int](), threading.Event()

    def run(command: list[str]) -> None:
        arrived.append(int(command[4]))
        if arrived[-1] == signal.SIGSTOP:
            raise OSError("no srun")
        come.set()

    courier = Courier(run)
    courier.send((signal.SIGSTOP, 1, 2))
    courier.send((signal.SIGCONT, 1, 2))
    assert come.wait(10)
    assert arrived == [signal.SIGSTOP, signal.SIGCONT]
