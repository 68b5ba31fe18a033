"""How a peer's process speaks: one line of JSON, with the host's monotonic time."""

import json
import os
import signal
import sys
import time


def say(word: str, **facts: object) -> None:
    """One write a line, so that lines of several processes never mix."""
    line = json.dumps({"word": word, "time": time.monotonic(), "pid": os.getpid(), **facts})
    sys.stdout.flush()
    os.write(1, line.encode() + b"\n")


def live(seconds: int = 60) -> None:
    """This process ends by itself after that long, should everything else fail to end it."""
    signal.alarm(seconds)
