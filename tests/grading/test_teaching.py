"""The page for teachers and its workflow files: they name commands and options that there are."""

import re
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from labkit.cli import app

TEACHING = Path(__file__).parents[2] / "docs" / "teaching"
FILES = sorted(path for path in TEACHING.rglob("*") if path.is_file())
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_option_that_is_named_exists(path):
    text = path.read_text().replace("\\\n", " ")
    if path.suffix == ".yml":
        text = re.sub(r"\n\s+(?=--)", " ", text)
    calls = re.findall(r"labkit ([a-z-]+)([^\n`]*)", text)
    for name, rest in calls:
        if name not in COMMANDS:
            assert name == "bench", name
            continue
        known = {option for p in COMMANDS[name].params for option in p.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, (name, rest)
    if "run_autograder" in path.name or path.suffix == ".yml":
        assert [name for name, _ in calls] == ["grade"]


@pytest.mark.parametrize("path", sorted(TEACHING.rglob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_can_be_read(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", sorted((TEACHING / "workflows/gradescope").iterdir()))
def test_a_script_can_be_read(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert path.stat().st_mode & 0o111


def test_links_lead_somewhere():
    page = (TEACHING / "README.md").read_text()
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert (TEACHING / target).exists(), target
