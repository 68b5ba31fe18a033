"""`labkit grade`, `labkit replay`, `labkit new-exercise`; imports happen when one of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GRADED, BELOW, FAILED = 0, 1, 2


def add_to(app: typer.Typer) -> None:
    app.command()(grade)
    app.command()(replay)
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
) -> None:
    """Grade submissions outside of their own processes.

    The exit status is 0 when all are graded, 1 when one of them is below the pass mark, and 2 when
    something could not be graded.
    """
    from labkit.grading.exercise import ExerciseError
    from labkit.grading.grade import grade as grade_all
    from labkit.grading.jail import JailError
    from labkit.grading.record import unknown
    from labkit.grading.report import write_all

    try:
        records = grade_all(submissions, out, seed, jobs, jail)
    except (JailError, ExerciseError, FileNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
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
) -> None:
    """Show what was drawn for an exercise, and what is right."""
    from labkit import check
    from labkit.grading import exercise
    from labkit.grading.score import draws

    try:
        graded = exercise.load(name)
    except KeyError as error:
        typer.echo(error.args[0], err=True)
        raise typer.Exit(FAILED) from None
    reference = graded.define(graded.reference)
    for prop in graded.properties:
        print(f"{graded.id}, {prop.title}:")
        for arguments in draws(graded, prop, seed):
            call = check.call_text(reference, arguments)
            print(f"  {call} → {check.text(prop.run(reference, *arguments))}")
    print(f'Yours, in a notebook: check("{name}", {graded.about.function}, seed={seed})')


def new_exercise(
    name: Annotated[str, typer.Argument(metavar="EXERCISE", help="As in ring.4.")],
    notebook: Annotated[str, typer.Option(help="As in 02_ring_all_reduce.")] = "",
) -> None:
    """Make an exercise's folder; called again, admit it to the grader once it is proved.

    An exercise is proved when its stub earns nothing, its solution all, no constant anything, and
    each of at least three mutants fails the property that it names.
    """
    from labkit.grading import new
    from labkit.grading.exercise import ExerciseError
    from labkit.grading.grade import Bench
    from labkit.grading.jail import JailError

    bench = Bench("auto", 0, None)
    try:
        found = new.begin_or_admit(name, notebook, bench)
    except (ExerciseError, JailError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    finally:
        bench.close()
    for sentence in found.sentences:
        print(sentence)
    if not found.admitted:
        raise typer.Exit(BELOW)
