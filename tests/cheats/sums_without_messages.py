"""Writes down what the sum should be, and sends nothing."""

POINTS = 0
CELL = r"""# exercise: ring.1
def my_reduce_scatter(link, chunks):
    chunks[link.rank] *= link.size
"""
