"""Pictures of elastic runs: what they show, not how they look."""

from __future__ import annotations

import pytest
import synthetic
from pictures import assert_legible, gids, run_of, text_of

from labkit.views.elastic import parts, recovery_parts, samples_seen
from labkit.views.history import history
from labkit.views.recovery import recovery


def test_each_sample_is_counted_under_what_became_of_it() -> None:
    seen = [1.0] * 200 + [0.0] * 5 + [2.0, 3.0]
    figure = samples_seen({"by rank": seen, "by step": [1.0] * 207}, title="Once, or not")
    for name, word, count in (
        ("by rank", "never", 5),
        ("by rank", "once", 200),
        ("by rank", "more than once", 2),
        ("by step", "once", 207),
    ):
        assert text_of(figure, f"{name}:{word}") == f"{word}: {count}"
    assert_legible(figure)


def test_a_recovery_is_drawn_in_its_parts() -> None:
    events = synthetic.typical(4)
    figure = recovery_parts(events, title="Two recoveries")
    death, birth = parts(events).values()
    assert [p.name for p in death] == ["notice", "agree", "form", "redo"]
    assert gids(figure, "part:") == sorted({f"part:{p.name}" for p in [*death, *birth]})
    assert_legible(figure)


def test_a_run_without_faults_has_no_recovery_to_draw() -> None:
    with pytest.raises(ValueError, match="nobody was killed"):
        recovery_parts(synthetic.typical(4)[:20])


def test_a_restart_is_split_up_to_the_step_that_all_make() -> None:
    """Start, ready, agree, form, restore, step: each ends with the last to get there."""
    restart = {"fault": {"fault": "Restart", "rank": 1}, "ranks": [1]}
    view = {"number": 2, "members": [0, 1]}
    past = history(
        run_of(
            (0.0, 0, "start", "", {}),
            (1.0, -1, "fault", "", restart),
            (1.1, 1, "start", "", {}),
            (1.3, 1, "begin", "agreeing", {}),
            (1.35, 0, "view", "", view),
            (1.4, 1, "view", "", view),
            (1.4, 1, "end", "agreeing", {}),
            (1.41, 1, "begin", "forming group", {}),
            (1.42, 0, "begin", "forming group", {}),
            (1.45, 0, "end", "forming group", {}),
            (1.5, 1, "end", "forming group", {}),
            (1.51, 1, "begin", "restoring", {}),
            (1.6, 1, "end", "restoring", {}),
            (1.8, 0, "step", "", {"step": 1}),
            (1.9, 1, "step", "", {"step": 1}),
        )
    )
    found = recovery(past, past.faults[0])
    ends = [(phase.name, round(phase.end, 6)) for phase in found.phases]
    assert ends == [
        ("start", 1.1),
        ("ready", 1.3),
        ("agree", 1.4),
        ("form", 1.5),
        ("restore", 1.6),
        ("step", 1.9),
    ]
