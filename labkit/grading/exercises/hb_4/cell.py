# exercise: hb.4
def believe(old, new):
    """What is believed after the news: a higher incarnation beats a lower one; in the same one,
    faulty beats suspect, and suspect beats alive."""
    ### BEGIN SOLUTION
    order = {"alive": 0, "suspect": 1, "faulty": 2}
    return max(old, new, key=lambda belief: (belief[0], order[belief[1]]))
    ### END SOLUTION
    raise NotImplementedError("exercise hb.4: which of two beliefs is newer?")
