"""The pictures of the notebooks on Raft: what they show, not how they look."""

from __future__ import annotations

import pytest

from labkit.views.raft import logs, quorums


def said(figure: object) -> list[str]:
    texts = [text.get_text() for text in figure.axes[0].texts]  # type: ignore[attr-defined]
    return [*texts, *(text.get_text() for text in figure.texts)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("n", "shared"), [(3, "node 1"), (4, "nodes 1 and 2"), (5, "node 2")])
def test_quorums_name_what_they_share(n: int, shared: str) -> None:
    assert any(text.endswith(shared) for text in said(quorums(n)))


def test_logs_show_a_cell_for_each_entry_and_a_line_for_what_is_committed() -> None:
    figure = logs({0: [1, 1, 2], 1: [1, 3]}, {0: 5, 1: 3}, "they part", first=4)

    axes = figure.axes[0]
    assert len(axes.patches) == 5
    assert said(figure).count("3") == 1  # the term; the indices are 4, 5, 6
    assert {"4", "5", "6", "node 0", "node 1", "they part"} <= set(said(figure))
    assert [line.get_xdata()[0] for line in axes.lines] == [5.5]  # node 1's lies before the picture


def test_logs_of_nodes_without_entries_can_be_drawn() -> None:
    assert not logs({0: [], 1: []}).axes[0].patches
