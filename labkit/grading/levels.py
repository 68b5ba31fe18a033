"""How strong a jail is here, and what it does not stop."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from labkit.grading.inside import seccomp

LEVELS = ("namespace", "rlimit")


@dataclass(frozen=True)
class Gap:
    """Something that student code may try, and what comes of it at each level."""

    attempt: str
    namespace: str
    rlimit: str


GAPS = (
    Gap(
        "read the lab's sources, with their solutions",
        "stopped: they are not there",
        "not stopped, unless file permissions do",
    ),
    Gap(
        "read other students' submissions, the grader's files, its user's environment",
        "stopped: they are not there",
        "stopped where the grader is root; else not stopped",
    ),
    Gap(
        "write or remove files",
        "a home in memory, of 64 MiB, gone afterwards",
        "stopped: no file is opened for writing",
    ),
    Gap(
        "reach a network",
        "stopped: only loopback, and only where an exercise needs it",
        "stopped, but for exercises that run over Gloo",
    ),
    Gap(
        "start processes or programs, signal others, read their memory",
        "stopped: refused by the filter, and nobody else is in sight",
        "stopped: refused by the filter",
    ),
    Gap(
        "tell another rank of the same exercise something behind the link",
        "stopped, but over Gloo, where all is theirs",
        "stopped as far as files and sockets go",
    ),
    Gap(
        "fill the memory",
        "stopped at 1 GiB of address space a rank",
        "stopped at 1 GiB of address space a rank",
    ),
    Gap(
        "use the processor until the deadline",
        "not stopped: every thread may compute",
        "not stopped: every thread may compute",
    ),
    Gap(
        "use an error of Linux itself",
        "not stopped: run the grader in a virtual machine of its own",
        "not stopped: run the grader in a virtual machine of its own",
    ),
    Gap(
        "hand in what somebody else has written, or a published solution",
        "not stopped",
        "not stopped",
    ),
)
NO_FILTER = (
    "This machine has no seccomp filter: new processes, signals to processes of the same user, "
    "files and the network are not stopped. Use Linux on x86-64 or AArch64."
)


def gaps(level: str) -> list[tuple[str, str]]:
    """(attempt, what comes of it) at a level, on this machine."""
    found = [(gap.attempt, getattr(gap, level)) for gap in GAPS]
    return found if seccomp.machine() else [("anything below", NO_FILTER), *found]


def describe(level: str) -> str:
    """The level as reports name it: `namespace, seccomp` or `rlimit, without seccomp (darwin)`."""
    return f"{level}, seccomp" if seccomp.machine() else f"{level}, no seccomp ({sys.platform})"
