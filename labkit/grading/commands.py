"""`labkit grade`, `replay`, `release` and `new-exercise`; imports happen when one of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GRADED, BELOW, FAILED, INTERRUPTED = 0, 1, 2, 130  # 130: as a shell tells of SIGINT

CourseFile = Annotated[Path | None, typer.Option(help="TOML: exercises that count, and weights.")]
Overlay = Annotated[
    Path | None, typer.Option(help="A private folder of exercises that adds to or replaces some.")
]
Secret = Annotated[
    str, typer.Option(envvar="LABKIT_SECRET", help="Each student's variant is drawn from it.")
]


def add_to(app: typer.Typer) -> None:
    app.command()(grade)
    app.command()(replay)
    app.command()(release)
    app.command(name="new-exercise")(new_exercise)


def grade(
    submissions: Annotated[
        list[Path], typer.Argument(help="Notebooks, folders or zips with notebooks in them.")
    ],
    out: Annotated[Path, typer.Option(help="Where results go; what is there is not done again.")],
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn; else a new one.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many to judge side by side.")] = 2,
    jail: Annotated[str, typer.Option(help="auto, namespace or rlimit.")] = "auto",
    pass_mark: Annotated[float, typer.Option(help="Per cent of the points.")] = 0.0,
    course: CourseFile = None,
    exercises: Overlay = None,
    roster: Annotated[
        Path | None, typer.Option(help="CSV with a column `student`: who should have handed in.")
    ] = None,
    secret: Secret = "",
) -> None:
    """Grade submissions outside of their own processes.

    The exit status is 0 when all are graded, 1 when one of them is below the pass mark, and 2 when
    something could not be graded.
    """
    from labkit.grading.course import CourseError, setting
    from labkit.grading.exercise import ExerciseError
    from labkit.grading.grade import grade as grade_all
    from labkit.grading.jail import JailError
    from labkit.grading.record import unknown
    from labkit.grading.report import write_all

    try:
        chosen = setting(course, exercises, roster, secret)
        records = grade_all(submissions, out, seed, jobs, jail, setting=chosen)
    except (JailError, ExerciseError, CourseError, FileNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted: the same command goes on with what is left.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    for path in write_all(records, out):
        print(path)
    for result in unknown(records)[:5]:
        typer.echo(f"{result.exercise}, {result.title}: {result.sentence}", err=True)
    if unknown(records):
        raise typer.Exit(FAILED)
    if any(record.percent < pass_mark for record in records):
        raise typer.Exit(BELOW)


def replay(
    seed: Annotated[int, typer.Argument(help="As a report names it.")],
    name: Annotated[str, typer.Argument(metavar="EXERCISE", help="As in ring.1.")],
    exercises: Overlay = None,
) -> None:
    """Show what was drawn for an exercise, and what is right, if this copy of the lab knows it."""
    from labkit import check
    from labkit.grading.course import every_exercise
    from labkit.grading.exercise import ExerciseError
    from labkit.grading.score import draws

    try:
        known = every_exercise(exercises)
    except ExerciseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    if name not in known:
        typer.echo(f"there is no exercise {name!r} to grade, but {', '.join(known)}", err=True)
        raise typer.Exit(FAILED)
    graded = known[name]
    reference = graded.define(graded.reference)
    for prop in graded.properties:
        print(f"{graded.id}, {prop.title}:")
        try:
            cases = draws(graded, prop, seed)
        except KeyError:
            print("  only seed 0 can be drawn in this copy of the lab, which has no solutions")
            continue
        for arguments in cases:
            call = check.call_text(reference, arguments)
            right = "" if graded.known else f" → {check.text(prop.run(reference, *arguments))}"
            print(f"  {call}{right}")
    if graded.known:
        print("What is right is told for seed 0 alone, by check.")
        return
    if bug := graded.bug_of(seed):
        print(f"A copy that was drawn from this seed has the bug “{bug.name}”: {bug.sentence}")
    print(f'Yours, in a notebook: check("{name}", {graded.about.function}, seed={seed})')


def release(
    out: Annotated[Path, typer.Argument(help="A folder to make; beside it comes OUT.zip.")],
    exercises: Overlay = None,
    roster: Annotated[
        Path | None,
        typer.Option(help="CSV with a column `student`: a copy for each, with bugs of their own."),
    ] = None,
    secret: Secret = "",
) -> None:
    """Make what students get: the lab without solutions, mutants and tests, as folder and zip.

    With --roster and --secret each student gets a copy, OUT/NAME and OUT/NAME.zip: where a bug is
    to be found, with the one that is drawn for that student.
    """
    from labkit.grading import release as handing_out
    from labkit.grading.course import CourseError, read_roster
    from labkit.grading.exercise import ExerciseError

    try:
        if roster is None:
            made = handing_out.release(out, exercises)
        elif secret:
            students = read_roster(roster).values()
            made = handing_out.release_to(students, secret, out, exercises)
        else:
            raise CourseError("what each student gets is drawn from a secret: --secret S")
        for path in made:
            print(path)
    except (CourseError, ExerciseError, FileExistsError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None


def new_exercise(
    name: Annotated[str, typer.Argument(metavar="EXERCISE", help="As in ring.4.")],
    notebook: Annotated[str, typer.Option(help="As in 02_ring_all_reduce.")] = "",
    exercises: Annotated[
        Path | None, typer.Option(help="A private folder to make it in; else the lab's own.")
    ] = None,
) -> None:
    """Make an exercise's folder; called again, admit it to the grader once it is proved.

    An exercise is proved when its stub earns nothing, its solution all, no constant anything, and
    each of at least three mutants fails the property that it names.
    """
    from labkit.grading import exercise, new
    from labkit.grading.exercise import ExerciseError
    from labkit.grading.grade import Bench
    from labkit.grading.jail import JailError

    bench = Bench("auto", 0, None)
    try:
        found = new.begin_or_admit(name, notebook, bench, exercises or exercise.EXERCISES)
    except (ExerciseError, JailError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    finally:
        bench.close()
    for sentence in found.sentences:
        print(sentence)
    if not found.admitted:
        raise typer.Exit(BELOW)
