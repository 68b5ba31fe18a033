"""A class of thirty submissions, right, wrong, partial and cheating, and what each must earn; or of
any number of sections of thirty, which make other mistakes.

    python tests/grading/classroom.py CLASS
    labkit grade CLASS/handed-in/* --course CLASS/course.toml --out CLASS/graded --seed 5

What a wrong answer must earn is found out here, in this process, where its code is the lab's own:
the grader finds it out in a jail.
"""

import argparse
import importlib.util
import json
import sys
import zipfile
from pathlib import Path

from handed_in import notebook

from labkit.grading.course import setting
from labkit.grading.prove import holds

SEED = 5
CHEATS = (
    *("rigged_operators", "os_exit", "patched_modules", "forged_replies"),
    *("hard_coded", "stack_inspection", "printed_answers", "sys_exit"),
)
COURSE = """exercises = ["why.2", "cluster.1", "cluster.2", "ring.1", "data_parallel.5", "commit.1"]

[weights]
"ring.1" = 2
"""
SOME = ("right_in_a_zip", "unsolved", "mutants_0", "half_0", "cheat_rigged_operators", "broken")
"""Six that show one of each."""


class Classroom:
    """`cells` are a student's sources by exercise; all else of a submission is its wrapping."""

    def __init__(self, folder):
        self.folder = folder / "handed-in"
        self.folder.mkdir(parents=True)
        (folder / "course.toml").write_text(COURSE)
        self.section = 0
        self.exercises = setting(folder / "course.toml").chosen
        self.points = {}
        self.earned = {}

    def worth(self, cells):
        return sum(self.of(g, cells[g.id]) for g in self.exercises if g.id in cells)

    def of(self, graded, source):
        """Points of one cell of the lab's own: those of the properties that hold of it."""
        if (graded.id, source) not in self.earned:
            self.earned[graded.id, source] = sum(
                graded.about.points[prop.title]
                for prop in graded.properties
                if source == graded.reference
                or (source != graded.skeleton and self.holds(graded, prop, source))
            )
        return self.earned[graded.id, source]

    def holds(self, graded, prop, source):
        try:
            return holds(graded, prop, graded.define(source), SEED)
        except Exception:
            return False

    def references(self):
        return {graded.id: graded.reference for graded in self.exercises}

    def path(self, name, points):
        """Where the submission goes that is to earn so much."""
        name = f"{name}_in_{self.section}" if self.section else name
        self.points[name] = points
        return self.folder / name

    def hand_in(self, name, cells, points=None, extra=()):
        """One notebook."""
        path = self.path(name, self.worth(cells) if points is None else points)
        Path(f"{path}.ipynb").write_text(notebook(*extra, *cells.values()))

    def hand_in_folder(self, name, cells):
        """A notebook for each exercise, and a file that is none of our business."""
        folder = self.path(name, self.worth(cells))
        folder.mkdir()
        for place, source in enumerate(cells.values()):
            (folder / f"{place}.ipynb").write_text(notebook(source))
        (folder / "notes.txt").write_text("nothing to see here")

    def hand_in_zip(self, name, cells):
        with zipfile.ZipFile(f"{self.path(name, self.worth(cells))}.zip", "w") as archive:
            archive.writestr("mine/all.ipynb", notebook(*cells.values()))


def right(room):
    cells = room.references()
    room.hand_in("right", cells)
    room.hand_in_folder("right_in_a_folder", cells)
    room.hand_in_zip("right_in_a_zip", cells)
    room.hand_in("right_and_more", cells, extra=["%matplotlib inline", "print(1 / 0)"] * 50)
    stubs = [graded.skeleton for graded in room.exercises]
    room.hand_in("right_at_last", cells, extra=stubs)  # of several cells the last one counts
    noisy = {name: f"{source}\nprint('done')" for name, source in cells.items()}
    room.hand_in("right_and_loud", noisy, points=room.worth(cells))


def wrong(room):
    room.hand_in("unsolved", {graded.id: graded.skeleton for graded in room.exercises})
    room.hand_in("nothing_of_it", {}, extra=["x = 1"])
    Path(f"{room.path('broken', 0)}.zip").write_bytes(b"PK\x03\x04 and then nothing")
    for name, body in {
        "constant": "return 1",
        "raises": "raise ValueError('?')",
        "half_written": "return (",
    }.items():
        cells = {
            graded.id: f"# exercise: {graded.id}\ndef {graded.about.function}(*_):\n    {body}"
            for graded in room.exercises
        }
        room.hand_in(name, cells, points=0)


def partial(room):
    for number in range(6):  # known mistakes, another one each time
        mutants = {}
        for place, graded in enumerate(room.exercises):
            names = list(graded.mutants)
            name = names[(number + room.section * place) % len(names)]  # in another company
            mutants[graded.id] = graded.mutated(graded.mutants[name])
        room.hand_in(f"mutants_{number}", mutants)
    references = list(room.references().items())
    for number in range(4):  # right as far as they came
        room.hand_in(f"half_{number}", dict(references[: number + 2]))


def cheating(room):
    """In one exercise, while another is right."""
    honest = {"why.2": room.references()["why.2"]}
    for name in CHEATS:
        path = Path(__file__).parents[1] / "cheats" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"cheat_{name}", path)
        cheat = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cheat)
        points = room.worth(honest) + cheat.POINTS
        room.hand_in(f"cheat_{name}", {**honest, "commit.1": cheat.CELL}, points=points)


def make(folder, only=(), sections=1):
    """Writes the class below `folder`; what each of `only`, or of all, must earn."""
    room = Classroom(folder)
    for room.section in range(sections):
        for some in (right, wrong, partial, cheating):
            some(room)
    if only:
        room.points = {name: room.points[name] for name in only}
        for path in room.folder.iterdir():
            if path.stem not in only:
                for file in path.iterdir() if path.is_dir() else ():
                    file.unlink()
                path.rmdir() if path.is_dir() else path.unlink()
    (folder / "points.json").write_text(json.dumps(room.points, indent=1, sort_keys=True) + "\n")
    return room.points


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args(sys.argv[1:]).folder
    for student, points in sorted(make(chosen).items()):
        print(f"{points:3} points  {student}")
