"""Fills whatever it can write to."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    for number in range(10**6):
        for folder in (".", "/tmp", "/var/tmp", "/dev/shm"):
            try:
                open(f"{folder}/filled-by-a-cheat-{number}", "wb").write(bytes(1 << 24))
            except PermissionError:
                continue
            except FileNotFoundError:
                continue
        if number > 20:
            raise OSError("nothing can be written")
"""
