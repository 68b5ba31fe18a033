# exercise: chaos.1
def smallest(faults, job):
    """`job.breaks(some)` runs the job under a list of faults, and is true if it goes wrong; under
    `faults` it does. Returns those that are left when none can be left out any more, in order."""
    ### BEGIN SOLUTION
    for fault in list(faults):
        fewer = [other for other in faults if other != fault]
        if job.breaks(fewer):
            faults = fewer
    return faults
    ### END SOLUTION
    raise NotImplementedError("exercise chaos.1: leave out what is not needed")
