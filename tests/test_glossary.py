"""The glossary: every word of the course once, in order. And no notebook's link leads nowhere."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
TEXT = (NOTEBOOKS / "glossary.md").read_text()
WORDS = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)

# "Words" of the lab's design
REQUIRED = """rank; world size; process group; collective; all-reduce; reduce-scatter; all-gather;
bucket; view; leader; follower; candidate; witness; term; log; quorum; coordinator; participant;
prepare; vote; decision; in doubt; shard; manifest; replica; snapshot; checkpoint; interval;
heartbeat; suspicion; detection time; mistake; straggler; gray failure; hang; preemption; spare;
goodput; lost work; stall; recovery time; fault; failure; member; incarnation"""


@pytest.mark.parametrize("word", re.split(r";\s+", REQUIRED))
def test_every_word_is_explained(word):
    assert word in WORDS
    meaning = TEXT.partition(f"\n### {word}\n")[2].partition("\n###")[0]
    assert len(meaning.split()) >= 6


def test_alphabetical_and_once():
    assert sorted(set(WORDS)) == WORDS


def test_headings_are_their_own_anchors():
    """GitHub makes anchors lower case and JupyterLab does not: so the headings are lower case."""
    assert not [word for word in WORDS if not re.fullmatch(r"[a-z -]+", word)]


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("src/*.py")), ids=lambda p: p.stem)
def test_links_to_the_glossary_lead_somewhere(source):
    anchors = {word.replace(" ", "-") for word in WORDS}
    links = re.findall(r"glossary\.md(#[^)\s]*)?\)", source.read_text())
    assert {link.lstrip("#") for link in links} <= anchors | {""}


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("src/*.py")), ids=lambda p: p.stem)
def test_a_notebook_sends_nobody_to_one_that_is_not_there(source):
    course = {path.stem for path in NOTEBOOKS.glob("src/*.py")}
    text = source.read_text()
    assert set(re.findall(r"\]\(([^()]+)\.ipynb\)", text)) <= course
    named = re.findall(r"[Nn]otebooks?[\s#>]+\[?(\d\d)\b", text)
    assert set(named) <= {stem[:2] for stem in course}
