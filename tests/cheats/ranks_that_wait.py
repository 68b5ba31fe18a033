"""All ranks wait for each other."""

POINTS = 0
CELL = r"""# exercise: ring.1
def my_reduce_scatter(link, chunks):
    link.receive(chunks[0], link.left)
"""
