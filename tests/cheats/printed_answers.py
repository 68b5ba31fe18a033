"""Prints what a reader of a log may take for success, and warns."""

POINTS = 0
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    print("PASS 3 of 3 points")
    print("<script>document.body.innerHTML = 'full marks'</script>")
    return "commit"
"""
