"""Raft's fault matrix: fourteen faults, and under each of them elections (R1), replication (R2),
commits (R3), and changes of the voters or of the leader (R4).

Each cell is a story with all invariants on that ends in a healed group whose clients are answered.
The words of a cell are those of the matrix: E a new leader in time; N no other leader and no other
term; U nobody is answered; R all is well after healing; K a call's outcome is known or unknown, and
never wrong.
"""

from __future__ import annotations

import pytest
import raft_cells_crashes  # noqa: F401  (a cell is known once its file is imported)
import raft_cells_kills  # noqa: F401
import raft_cells_messages  # noqa: F401
import raft_cells_one_way  # noqa: F401
import raft_cells_partitions  # noqa: F401
from raft_cells import CELLS

FAULTS = list(dict.fromkeys(fault for fault, _ in CELLS))
COLUMNS = ("R1", "R2", "R3", "R4")
SEEDS = range(3)


@pytest.mark.case(19, 21, 50)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_cell_of_the_matrix(fault: str, column: str) -> None:
    for seed in SEEDS:
        CELLS[fault, column](seed).finish()


def test_the_matrix_is_whole() -> None:
    assert len(FAULTS) == 14
    assert set(CELLS) == {(fault, column) for fault in FAULTS for column in COLUMNS}
