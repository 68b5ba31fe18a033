# exercise: elastic.1
def my_rows(order, position, batch, place, size):
    """`order` lists an epoch's samples, `position` of which are learnt. Returns, as a list, those
    of the next `batch` that the rank at `place` of `size` takes: neighbours, sizes that differ by
    at most one, the later ranks taking more (place·b//size up to (place+1)·b//size, of b
    samples)."""
    ### BEGIN SOLUTION
    rows = order[position : position + batch]
    return rows[place * len(rows) // size : (place + 1) * len(rows) // size]
    ### END SOLUTION
    raise NotImplementedError("exercise elastic.1: which samples are mine?")
