"""What the C library does with memory that a training step gives back.

A step frees its activations, and the next one wants them again. glibc returns what is free at the
end of its heap to the kernel as soon as it is twice as much as the largest block that it has ever
got straight from the kernel and freed (mallopt(3), `M_TRIM_THRESHOLD`, "dynamic"). Where that was
small, each step pays for some thousand pages of zeros anew: 2 to 3 % of a step of the lab's GPT.
"""

from __future__ import annotations

KEPT_BYTES = 16 << 20


def keep_freed_memory() -> None:
    """From now on up to `KEPT_BYTES` at the end of the heap stay with this process. Blocks of up to
    half of that come from the heap; larger ones still from the kernel, and go back to it."""
    import torch

    torch.empty(KEPT_BYTES // 2, dtype=torch.uint8)
