"""The repository itself: its versions, its set-up, and the runner behind `make test`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def load(name: str) -> ModuleType:
    """A script of .ci/ as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


environment, runner = load("environment"), load("test")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def requirements() -> list[str]:
    project = PYPROJECT["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


# -- versions stand in one place


def test_every_pin_is_exact_and_names_no_build() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
    names = [canonicalize_name(name) for name in pins()]
    assert len(names) == len(set(names)), "a package is pinned twice"


def test_all_that_is_required_is_pinned_and_so_is_what_that_requires() -> None:
    """Follows the requirements of what is installed, as pip does."""
    pinned = {canonicalize_name(name) for name in pins()}
    waiting = [Requirement(line) for line in requirements()]
    waiting += [Requirement(line) for line in PYPROJECT["build-system"]["requires"]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        assert name in pinned, f"{name} is required and not in constraints.txt"
        for extra in {"", *need.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += required_by(name, extra)
    assert len(seen) > 100


def required_by(name: str, extra: str) -> list[Requirement]:
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []  # of another platform
    needs = [Requirement(line) for line in lines]
    return [n for n in needs if n.marker is None or n.marker.evaluate({"extra": extra})]


def test_pins_allow_what_pyproject_asks_for() -> None:
    versions = {canonicalize_name(name): version for name, version in pins().items()}
    for line in [*requirements(), *PYPROJECT["build-system"]["requires"]]:
        need = Requirement(line)
        assert versions[canonicalize_name(need.name)] in need.specifier
    assert versions["torch"] == "2.13.0"


def test_environment_yml_takes_all_packages_through_pip() -> None:
    """A version of a package in it would be a second place; only Python's own may stand there."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, from_pip = conda["dependencies"]
    assert set(conda) == {"name", "channels", "dependencies"}
    assert [line.split("=")[0] for line in plain] == ["python", "pip"]
    assert plain[1] == "pip"
    assert from_pip == {"pip": ["-c constraints.txt", "-e .[test]"]}


def test_one_oldest_python_everywhere() -> None:
    oldest = ".".join(map(str, environment.OLDEST))
    supported = SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert str(supported) == f">={oldest}"
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][0]
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["image"]
    for version in (conda.removeprefix("python="), container.removeprefix("python:")):
        assert version in supported
    torch = next(Requirement(r) for r in requirements() if r.startswith("torch"))
    assert str(torch.specifier) == f">={'.'.join(map(str, environment.OLDEST_TORCH))}"


# -- the Makefile and CI


def make(*words: str) -> str:
    """What make prints, without what a `make test` around this hands down."""
    home = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = ["make", *words]
    return subprocess.run(
        command, cwd=ROOT, env=home, capture_output=True, text=True, check=True
    ).stdout


def test_help_is_the_default_and_names_every_target_and_variable() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = make()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    for target in set(targets[1].split()) - {"help"}:
        assert re.search(rf"^  make {target}\s", shown, re.MULTILINE), target
    for name in set(re.findall(r"\$\((?:filter\S* \S+,\$\()?([A-Z_]{2,})\b", makefile)):
        if name not in ("VENV", "LABKIT", "HELP", "CHECK_FLAG"):
            assert re.search(rf"^  {name}=", shown, re.MULTILINE), name


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["run"], "labkit run"),
        (
            ["run", "NB=02", "WORLD_SIZE=8", "BACKEND=nccl", "SEED=3"],
            "labkit run 02 -p world_size=8 -p backend=nccl -p seed=3",
        ),
        (["run", "DEVICE=cpu", "FAST=True"], "labkit run -p device=cpu -p fast=True"),
        (["bench", "CHECK=1"], "labkit bench all --check"),
        (["bench", "CHECK=0"], "labkit bench all"),
        (["notebooks", "NB=02", "FORCE=1"], "labkit notebooks build 02 --force"),
        (["lab", "PORT=8123"], "labkit lab --port 8123"),
        (["lab", "TORCH=system"], ".venv-system/bin/labkit lab"),
    ],
)
def test_make_gives_its_variables_to_the_command(words: list[str], command: str) -> None:
    assert " ".join(make("--dry-run", *words).split()).endswith(command)


def test_no_failure_is_swallowed() -> None:
    for path in [ROOT / "Makefile", *(ROOT / ".ci").iterdir()]:
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"\|\|\s*(true|:)", text), path
            assert "\n\t-" not in text, f"{path}: a line that make runs without looking"
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)


# -- setting up


@pytest.mark.parametrize(
    ("platform", "version", "words"),
    [
        ("linux", (3, 10, 14), "needs Python 3.11 or newer and found 3.10"),
        ("darwin", (3, 9, 6), "make PYTHON=python3.12"),
        ("win32", (3, 12, 0), "WSL2"),
        ("cygwin", (3, 12, 0), "Reopen in Container"),
    ],
)
def test_what_cannot_work_is_refused(platform: str, version: tuple, words: str) -> None:
    with pytest.raises(environment.Refused, match=words):
        environment.check_platform(platform, version)


@pytest.mark.parametrize(("platform", "version"), [("linux", (3, 11, 0)), ("darwin", (3, 14, 1))])
def test_what_works_is_not_refused(platform: str, version: tuple) -> None:
    environment.check_platform(platform, version)


def test_an_unknown_torch_is_refused_before_anything_is_made(tree: Path) -> None:
    answer = set_up(tree, sys.executable, "cuda")
    assert answer.returncode == 1
    assert answer.stderr.strip() == "TORCH=cuda is unknown: leave it away, or take cpu or system."
    assert not (tree / ".venv").exists()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the real set-up, and few packages."""
    root = tmp_path / "tree"
    (root / ".ci").mkdir(parents=True)
    (root / ".ci/environment.py").write_bytes((ROOT / ".ci/environment.py").read_bytes())
    (root / "labkit").mkdir()
    (root / "labkit/__init__.py").write_text("")
    kept = ("pip", "setuptools", "six", "typing_extensions")
    lines = [f"{name}=={version}" for name, version in pins().items() if name in kept]
    (root / "constraints.txt").write_text("\n".join([*lines, "torch==2.13.0"]) + "\n")
    write_project(root, "six")
    return root


def write_project(root: Path, *dependencies: str) -> None:
    (root / "pyproject.toml").write_text(f"""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "labkit"
version = "0"
dependencies = {json.dumps(list(dependencies))}
optional-dependencies.test = ["typing_extensions"]
[tool.setuptools]
packages = ["labkit"]
""")


def set_up(
    root: Path, python: str, torch: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    command = [python, ".ci/environment.py", *([torch] if torch else [])]
    return subprocess.run(
        command, cwd=root, env=os.environ | settings, capture_output=True, text=True
    )


def versions_in(root: Path, name: str, *packages: str) -> list[str]:
    """As seen by the python of the environment `name`."""
    code = f"from importlib.metadata import version; [print(version(p)) for p in {packages!r}]"
    command = [str(root / name / "bin/python"), "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=root
    ).stdout.split()


@pytest.fixture(scope="session")
def index() -> None:
    look = ["install", "--dry-run", "--ignore-installed", "--no-deps", "six"]
    command = [sys.executable, "-m", "pip", *look]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no package index within reach")


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_set_up_installs_the_pins_once_and_again_when_they_change(tree: Path) -> None:
    assert set_up(tree, sys.executable).returncode == 0
    wanted = [pins()["six"], pins()["typing_extensions"], pins()["pip"]]
    assert versions_in(tree, ".venv", "six", "typing_extensions", "pip") == wanted
    again = set_up(tree, sys.executable)
    assert (again.returncode, again.stdout) == (0, "")
    text = (tree / "constraints.txt").read_text()
    (tree / "constraints.txt").write_text(text.replace(f"six=={pins()['six']}", "six==1.16.0"))
    assert "Installing" in set_up(tree, sys.executable).stdout
    assert versions_in(tree, ".venv", "six") == ["1.16.0"]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_failed_installation_says_why_and_is_begun_again(tree: Path) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    failed = set_up(tree, sys.executable, **nowhere)
    assert failed.returncode == 1
    assert "pip could not install the packages" in failed.stderr
    assert "Installing" in set_up(tree, sys.executable).stdout
    assert set_up(tree, sys.executable).stdout == ""


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_set_up_needs_no_index_where_the_wheels_have_been_taken_along(tree: Path) -> None:
    """As on the nodes of a cluster."""
    (tree / "cluster").mkdir()
    script = shutil.copy(ROOT / "cluster/wheels.sh", tree / "cluster")
    settings = os.environ | {"PYTHON": sys.executable}
    said = subprocess.run([script], env=settings, capture_output=True, text=True, check=True)
    assert said.stdout == "4 wheels are in cluster/wheels\n"
    wheels = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tree / "cluster/wheels")}
    made = set_up(tree, sys.executable, PIP_CONFIG_FILE=os.devnull, **wheels)
    assert made.returncode == 0, made.stderr
    assert versions_in(tree, ".venv", "six") == [pins()["six"]]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_missing_cpu_build_is_an_error_and_no_other_is_taken(tree: Path) -> None:
    write_project(tree, "six", "torch")
    text = (tree / "constraints.txt").read_text()
    (tree / "constraints.txt").write_text(text.replace("torch==2.13.0", "torch==0.0.1"))
    failed = set_up(tree, sys.executable, "cpu")
    assert failed.returncode == 1
    assert "no CPU build of this torch" in failed.stderr


def container(folder: Path, torch: str = "2.11.0a0+vendor26.4") -> str:
    """A python that has a torch as vendors build them, with old versions of what it requires."""
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    add_package(site, "torch", torch, "typing_extensions>=4.8", "setuptools>=77")
    add_package(site, "setuptools", "79.0.0")
    add_package(site, "typing_extensions", "4.8.0")
    add_package(site, "numpy", "1.26.4")
    add_package(site, "six", "1.10.0")  # torch does not require it, so ours is installed beside it
    return str(folder / "bin/python")


def add_package(site: Path, name: str, version: str, *requires: str) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "INSTALLER").write_text("vendor\n")
    (info / "RECORD").write_text(f"{name}.py,,\n{info.name}/METADATA,,\n")
    (site / f"{name}.py").write_text(f"__version__ = {version!r}\n")


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_the_torch_of_a_container_is_used_and_nothing_of_it_is_changed(
    tree: Path, tmp_path: Path
) -> None:
    python = container(tmp_path / "container")
    write_project(tree, "torch>=2.11", "numpy", "six")
    before = content(tmp_path / "container")
    answer = set_up(tree, python, "system")
    assert answer.returncode == 0, answer.stderr
    assert content(tmp_path / "container") == before
    packages = ("torch", "setuptools", "typing_extensions", "numpy", "six")
    seen = versions_in(tree, ".venv-system", *packages)
    assert seen == ["2.11.0a0+vendor26.4", "79.0.0", "4.8.0", "1.26.4", pins()["six"]]
    own = {path.name for path in (tree / ".venv-system/lib").rglob("*.dist-info")}
    assert not any(name.startswith(("torch", "numpy", "setuptools", "typing_ext")) for name in own)
    assert set_up(tree, python, "system").stdout == "", "nothing to do a second time"


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_pins_that_do_not_fit_a_containers_torch_give_way(tree: Path, tmp_path: Path) -> None:
    python = container(tmp_path / "container")
    write_project(tree, "torch>=2.11", "six")
    text = (tree / "constraints.txt").read_text()
    (tree / "constraints.txt").write_text(text.replace(f"six=={pins()['six']}", "six==99"))
    answer = set_up(tree, python, "system")
    assert answer.returncode == 0, answer.stderr
    assert "do not fit what this torch requires" in answer.stdout
    assert versions_in(tree, ".venv-system", "typing_extensions") == ["4.8.0"]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_what_a_containers_torch_requires_is_not_even_hidden_by_a_newer_one(
    tree: Path, tmp_path: Path
) -> None:
    python = container(tmp_path / "container")
    write_project(tree, "torch>=2.11", "typing_extensions>=4.9")
    answer = set_up(tree, python, "system")
    assert answer.returncode == 1
    assert "pip could not install" in answer.stderr
    assert versions_in(tree, ".venv-system", "typing_extensions") == ["4.8.0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("torch", "words"),
    [("2.10.0", "needs torch 2.11 or newer"), ("", "has no torch: start the container")],
)
def test_a_container_without_a_torch_that_will_do_is_refused(
    tree: Path, tmp_path: Path, torch: str, words: str
) -> None:
    folder = tmp_path / "container"
    if torch:
        python = container(folder, torch)
    else:
        venv.create(folder, with_pip=False)
        python = str(folder / "bin/python")
    answer = set_up(tree, python, "system")
    assert answer.returncode == 1
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


# -- the runner of `make test`


def part(name: str, code: str, budget: float = 60.0) -> Any:
    return runner.Part(name, budget, [sys.executable, "-c", code])


def test_every_part_runs_and_one_failure_is_enough(capfd: pytest.CaptureFixture[str]) -> None:
    parts = [part("first", "print('a')"), part("second", "raise SystemExit(3)"), part("third", "")]
    assert runner.main(parts) == 1
    lines = capfd.readouterr().out.strip().splitlines()
    assert lines[-1] == "3 passed, 1 failed"
    assert any(re.fullmatch(r"second +[\d.]+ +60  FAILED: exit status 3", line) for line in lines)
    assert any(re.fullmatch(r"third +[\d.]+ +60  ok", line) for line in lines)
    assert runner.main(parts[:1]) == 0


def test_a_part_that_hangs_is_ended_and_one_over_its_budget_is_named(
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended = runner.run(part("hangs", "import time; time.sleep(600)", 0.1), {})
    assert ended.failure == "hung: ended after 5 times its budget"
    runner.print_table([runner.Outcome(part("slow", "", 10), 12.0, "")])
    assert "ok, but over its budget" in capfd.readouterr().out


ORPHAN = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"],
    start_new_session=True, stdout=subprocess.DEVNULL,
)
print("child", child.pid, flush=True)
"""


def test_a_process_left_behind_is_a_failure_and_is_ended(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner.left_behind, "__defaults__", (0.2,))
    assert runner.main([part("leaves", ORPHAN)]) == 1
    printed = capfd.readouterr().out
    found = re.search(r"child (\d+)", printed)
    assert found is not None
    assert f"left running: {found[1]} " in printed
    assert printed.strip().endswith("1 passed, 1 failed")
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(found[1])).wait(timeout=10)


@pytest.mark.slow
def test_what_is_skipped_is_listed_with_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests/conftest.py").read_bytes())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.skip(reason='needs two GPUs')\ndef test_nccl(): pass\n"
        "def test_other(): pytest.skip('needs an index')\n"
        "def test_passes(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    assert runner.main([runner.Part("pytest", 60, [*command, "-p", "no:cacheprovider"])]) == 0
    printed = capfd.readouterr().out
    listed = printed[printed.index("Could not run here:") :]
    assert "needs two GPUs: 1 test (test_it.py::test_nccl)" in listed
    assert "needs an index: 1 test (test_it.py::test_other)" in listed
    assert "test_passes" not in listed


@pytest.mark.parametrize(("count", "name"), [("0", "gpu"), ("1", "gpu"), ("2", "gpus")])
def test_with_two_gpus_all_tests_run_on_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: str, name: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {count}\n")
    python.chmod(0o755)
    monkeypatch.setattr(runner, "PYTHON", str(python))
    assert runner.parts_of("gpu") == runner.RUNS[name]
    assert not any("tests/" in word for part in runner.RUNS["gpus"] for word in part.command)


@pytest.mark.slow
def test_what_no_gpu_can_show_is_said_in_a_sentence(tmp_path: Path) -> None:
    """And stands at the head of the report."""
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests/conftest.py").read_bytes())
    (tmp_path / "test_it.py").write_text("def test_passes(): pass\n")
    report = tmp_path / "out/report.txt"
    hidden = os.environ | {"LABKIT_GPU_REPORT": str(report), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    said = subprocess.run(command, env=hidden, capture_output=True, text=True).stdout
    sentence = "There is no GPU here that torch can use: nothing of CUDA or NCCL has been measured."
    assert sentence in said.splitlines()
    assert report.read_text().startswith(f"{sentence}\n")
    assert "passed   test_it.py::test_passes" in report.read_text()


def test_the_parts_are_what_contributing_says() -> None:
    parts = {part.name: part for part in runner.RUNS["all"]}
    for word in ("ruff check", "ruff format", "mypy", "pytest", "nbval", "papermill"):
        assert word in parts
    assert parts["notebooks match"].command[-2:] == ["notebooks", "check"]
    assert parts["pytest, portable"].settings == {"LABKIT_PORTABLE": "1"}
    assert sum(part.budget for part in runner.RUNS["all"]) <= 2100
    assert sum(part.budget for part in runner.RUNS["fast"]) <= 90
