# exercise: ckpt.5
def garbage(files, kept):
    """The files that no checkpoint needs, sorted. `files` are all that there are; `kept` has, for
    each step that is kept, the set of files that it needs."""
    ### BEGIN SOLUTION
    needed = set().union(*kept.values())
    return sorted(file for file in files if file not in needed)
    ### END SOLUTION
    raise NotImplementedError("exercise ckpt.5: which files does nobody refer to?")
