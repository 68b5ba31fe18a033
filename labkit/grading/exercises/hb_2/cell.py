# exercise: hb.2
def phi(silence, mean, deviation):
    """-log10 of the probability of an interval longer than `silence`; finite for any of them."""
    ### BEGIN SOLUTION
    import math

    z = (silence - mean) / deviation
    if z < 20:
        return -math.log10(math.erfc(z / math.sqrt(2)) / 2)
    return (z * z / 2 + math.log(z * math.sqrt(2 * math.pi))) / math.log(10)
    ### END SOLUTION
    raise NotImplementedError("exercise hb.2: how surprising is this silence?")
