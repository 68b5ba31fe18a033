"""Training on many ranks: data, models, which rank computes what, gradients on their way, the loop.

`cluster.run(train, model="cnn")` trains on a cluster; `loop.py` is where to begin to read.
"""

from __future__ import annotations

from labkit.training.loop import train

__all__ = ["train"]
