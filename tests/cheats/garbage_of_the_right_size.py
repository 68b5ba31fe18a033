"""Sends as many bytes as are expected, and adds nothing up."""

POINTS = 0
CELL = r"""# exercise: ring.1
import torch


def my_reduce_scatter(link, chunks):
    for step in range(link.size - 1):
        give = chunks[(link.rank - step - 1) % link.size]
        take = torch.empty_like(chunks[(link.rank - step - 2) % link.size])
        link.transfer(sends=[(give, link.right)], receives=[(take, link.left)]).wait()
"""
