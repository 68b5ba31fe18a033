"""The command line, `labkit`: every command imports what it needs when it runs, so that `--help`
answers at once."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import labkit
from labkit.grading import commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Break real training clusters and repair them.",
)
notebooks = typer.Typer(no_args_is_help=True, help="Build the notebooks from notebooks/src.")
bench = typer.Typer(no_args_is_help=True, help="Measure the figures that the README quotes.")
app.add_typer(notebooks, name="notebooks")
app.add_typer(bench, name="bench")
commands.add_to(app)

BENCHES = {
    "collectives": "The lab's all-reduce beside Gloo's own and MPI's, from 4 KiB to 64 MiB.",
    "launch": "How long until all ranks are ready, beside multiprocessing and torchrun.",
    "recovery": "From a rank's death to the others' next all-reduce, beside torchrun and ULFM.",
    "failover": "From the death of a Raft leader to the next one, beside PySyncObj.",
    "checkpoint": "How long a checkpoint of 307 MB holds up training, beside torch.save and DCP.",
    "training": "How long until four ranks read digits, and how well they do.",
    "goodput": "Steps that count under one kill every 10 s, beside torchrun; and as predicted.",
    "simulator": "Messages a second of the simulated Raft, beside simpy; a thousand seeds.",
    "panel": "What the live panel of eight ranks costs the notebook's kernel.",
    "memory": "What JupyterLab with a notebook and a cluster of four ranks takes.",
    "grading": "How long an honest submission of every exercise takes to be graded.",
}

Json = Annotated[Path | None, typer.Option(help="Write the rows of figures to this file.")]
Plot = Annotated[Path | None, typer.Option(help="Draw the figures into this PNG file.")]
Check = Annotated[bool, typer.Option("--check", help="Fail where a figure misses its target.")]
Quick = Annotated[bool, typer.Option("--quick", help="Few repetitions: does it run at all?")]
Names = Annotated[
    list[str] | None, typer.Argument(help="Numbers (02) or files; all of them when left away.")
]


def version(wanted: bool) -> None:
    if wanted:
        print(f"labkit {labkit.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    from labkit.notebooks import REPOSITORY

    # One place for all records, whatever folder a kernel runs in.
    os.environ.setdefault("LABKIT_RUNS", str(REPOSITORY / "runs"))


@app.command()
def lab(
    port: Annotated[int | None, typer.Option(help="Else a free one is taken.")] = None,
) -> None:
    """Open JupyterLab on the first notebook; without a screen, print its address and token.

    You work on copies in my-notebooks/, which git ignores; a notebook that you have not touched
    follows the repository.
    """
    from labkit.notebooks import NotebookError
    from labkit.notebooks.lab import start

    try:
        start(port)
    except NotebookError as error:
        raise fail(error) from None


class PairsOfWords(TyperCommand):
    """Takes `-p NAME VALUE`, which is papermill's way, for `-p NAME=VALUE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words: list[str] = []
        for word in args:
            if words[-2:-1] == ["-p"] and "=" not in words[-1] and not word.startswith("-"):
                words[-1] += f"={word}"
            else:
                words.append(word)
        return super().parse_args(ctx, words)


@app.command(cls=PairsOfWords)
def run(
    names: Names = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="NAME=VALUE", help="As in -p world_size=8 -p seed=3."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Else a new folder in runs/.")] = None,
) -> None:
    """Run notebooks without a browser and leave an index.html of them and their pictures.

    Beside each stand its metrics (seconds of each cell; steps, views, faults and deaths of each
    cluster) and, in clusters/, the events of the clusters that it made.

    Every notebook has the parameters world_size, backend, device, seed and fast. One that fails
    does not stop the others; the exit status is 1 then.
    """
    from labkit import runs
    from labkit.notebooks import NOTEBOOKS, NotebookError, find
    from labkit.notebooks.run import parse, require_parameters
    from labkit.notebooks.run import run as run_all

    try:
        parameters = parse(parameter or [])
        chosen = find(names or [], NOTEBOOKS)
        require_parameters(chosen, parameters)
    except NotebookError as error:
        raise fail(error) from None
    out = (out or runs.new_run()).absolute()
    os.environ["LABKIT_RUNS"] = str(out / "clusters")
    try:
        outcomes = run_all(chosen, parameters, out)
    except NotebookError as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        print(f"What was done is in {out / 'index.html'}")
        raise typer.Exit(130) from None
    print(f"{out / 'index.html'}")
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Measure this machine: fsync, timers, memory, what is installed; say what to do.

    The exit status is 1 when something must be mended before the lab can work.
    """
    from labkit.doctor import as_json, examine, show

    findings = examine()
    if json:
        print(as_json(findings))
    else:
        show(findings)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


@notebooks.command()
def build(
    names: Names = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also those whose source is as it was.")
    ] = False,
    solutions: Annotated[
        bool, typer.Option("--solutions", help="Run with the solutions in place, store nothing.")
    ] = False,
) -> None:
    """Execute `notebooks/src/NN_*.py`; store them, without solutions, as `notebooks/NN_*.ipynb`."""
    from labkit.notebooks import NOTEBOOKS, NotebookError, find
    from labkit.notebooks.build import build as build_one
    from labkit.notebooks.build import built_path, try_solutions

    try:
        for source in find(names or [], NOTEBOOKS / "src", "[0-9][0-9]_*.py"):
            if solutions:
                try_solutions(source)
                print(f"{source.stem}: runs with its solutions")
            else:
                done = build_one(source, force=force)
                print(f"{built_path(source).name}: {'built' if done else 'is of this source'}")
    except NotebookError as error:
        raise fail(error) from None


@notebooks.command()
def check() -> None:
    """Say which stored notebooks do not match their sources, or were not executed to their end."""
    from labkit.notebooks import NOTEBOOKS, NotebookError, find
    from labkit.notebooks.build import orphans, problems

    try:
        sources = find([], NOTEBOOKS / "src", "[0-9][0-9]_*.py")
        found = [line for source in sources for line in problems(source)] + orphans(NOTEBOOKS)
    except NotebookError as error:
        raise fail(error) from None
    for line in found:
        print(line)
    if found:
        raise fail("`make notebooks` builds those that changed.")
    print(f"{len(sources)} notebooks match their sources")


def add_bench(name: str, text: str) -> None:
    @bench.command(name, help=text)
    def command(
        json: Json = None, plot: Plot = None, check: Check = False, quick: Quick = False
    ) -> None:
        measure(name, json, plot, check, quick)


for name, text in BENCHES.items():
    if name != "goodput":
        add_bench(name, text)


@bench.command(help=BENCHES["goodput"])
def goodput(
    json: Json = None,
    plot: Plot = None,
    check: Check = False,
    quick: Quick = False,
    seconds: Annotated[float | None, typer.Option(help="In place of two minutes.")] = None,
) -> None:
    from labkit.bench.goodput import main

    if main(json, plot, check, quick, seconds):
        raise typer.Exit(1)


@bench.command(name="all")
def all_benches(
    out: Annotated[Path | None, typer.Option(help="Else a new folder in runs/.")] = None,
    check: Check = False,
    quick: Quick = False,
) -> None:
    """All of them in turn, with rows and plots in one folder; a miss does not stop the next."""
    from labkit import runs

    out = (out or runs.new_run()).absolute()
    out.mkdir(parents=True, exist_ok=True)
    missed = []
    for name in BENCHES:
        print(f"\n{name}: {BENCHES[name]}", flush=True)
        try:
            measure(name, out / f"{name}.json", out / f"{name}.png", check, quick)
        except typer.Exit:
            missed.append(name)
        except Exception as error:  # the next one is measured all the same
            print(f"{name} could not be measured: {type(error).__name__}: {error}")
            missed.append(name)
    print(f"Rows and plots are in {out}")
    if missed:
        raise fail(f"Missed or not measured: {', '.join(missed)}")


def measure(name: str, json: Path | None, plot: Path | None, check: bool, quick: bool) -> None:
    module = importlib.import_module(f"labkit.bench.{name}")
    if module.main(json, plot, check, quick):
        raise typer.Exit(1)


def fail(reason: object) -> typer.Exit:
    """Prints the reason; to be raised."""
    typer.echo(str(reason), err=True)
    return typer.Exit(1)


if __name__ == "__main__":
    app()
