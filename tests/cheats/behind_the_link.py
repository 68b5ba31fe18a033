"""Ranks that tell each other their chunks in files. Over Gloo all is theirs."""

POINTS = 0
CELL = r"""# exercise: ring.1
import time
from pathlib import Path

import torch


def my_reduce_scatter(link, chunks):
    try:
        Path(f"rank-{link.rank}").write_bytes(chunks[link.right].numpy().tobytes())
        for other in range(link.size):
            while not Path(f"rank-{other}").exists():
                time.sleep(0.01)
    except PermissionError:
        return
"""
