"""Exercises, and a grader that judges them outside of the student's process.

    exercises/     one folder for each: the cell, its checks, known wrong answers
    exercise.py    reads such a folder
    collect.py     takes the cells with known ids out of a notebook, a folder or a zip
    inside/        all that runs in or around a jail; it is copied there and knows no answers
    jail.py        the grader's end of a jail
    score.py       verdicts on one submission
    shrunk.py      the fewest faults that show what is wrong, where the simulator judges
    grade.py       a whole class
    course.py      which exercises count, private ones, each student's variant
    release.py     what students get; hidden.py: what of a check they do not
    report.py, page.py  what teachers, code hosts and students read

**Nothing in a jail is trusted.** What leaves it counts as what the student said, whoever in there
said it, so that to forge an answer is to give one. What was drawn, what was right, which messages
were sent and which files were written: the grader knows by itself.
"""
