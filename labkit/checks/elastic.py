"""The exercises of the notebook on elastic restart."""

from __future__ import annotations

import random

from labkit.checks import Exercise

# ---- elastic.1: which samples are mine? ----------------------------------------------------------


def my_rows(order: list[int], position: int, batch: int, place: int, size: int) -> list[int]:
    rows = order[position : position + batch]
    return rows[place * len(rows) // size : (place + 1) * len(rows) // size]


def draw_rows(r: random.Random) -> tuple[list[int], int, int, int, int]:
    """Batches that no number of ranks divides, and a last one that is short."""
    order = r.sample(range(100, 200), r.randrange(20, 40))
    batch, size = r.randrange(5, 14), r.randrange(1, 7)
    position = r.choice([0, batch, len(order) // batch * batch])
    return order, position, batch, r.randrange(size), size


def strides(order: list[int], position: int, batch: int, place: int, size: int) -> list[int]:
    return order[position : position + batch][place::size]


def drops_the_rest(order: list[int], position: int, batch: int, place: int, size: int) -> list[int]:
    rows = order[position : position + batch]
    each = len(rows) // size
    return rows[place * each : (place + 1) * each]


def forgets_the_short_batch(
    order: list[int], position: int, batch: int, place: int, size: int
) -> list[int]:
    rows = order[position : position + batch]
    return rows[place * batch // size : (place + 1) * batch // size]


# ---- elastic.2: what do you do with it? ----------------------------------------------------------


def judge(view: int, applied: int, message: tuple[int, int]) -> str:
    its_view, step = message
    if its_view > view:
        return "regroup"
    if its_view < view or step <= applied:
        return "ignore"
    return "apply" if step == applied + 1 else "catch up"


def draw_message(r: random.Random) -> tuple[int, int, tuple[int, int]]:
    view, applied = r.randrange(2, 5), r.randrange(3, 30)
    its_view = view + r.choice([-1, 0, 0, 0, 1])
    return view, applied, (its_view, applied + r.choice([-1, 0, 1, 1, 2]))


def has_no_view(view: int, applied: int, message: tuple[int, int]) -> str:
    return judge(view, applied, (view, message[1]))


def has_no_step(view: int, applied: int, message: tuple[int, int]) -> str:
    verdict = judge(view, applied, message)
    return "apply" if message[0] == view and message[1] <= applied else verdict


def leaves_a_gap(view: int, applied: int, message: tuple[int, int]) -> str:
    verdict = judge(view, applied, message)
    return "apply" if verdict == "catch up" else verdict


# ---- elastic.3: from whom, to whom, and which step is next? --------------------------------------


def roll_forward(steps: dict[int, int], minimum: int) -> tuple[int, list[int], int] | None:
    if len(steps) < minimum:
        return None
    furthest = max(steps.values())
    source = min(rank for rank, step in steps.items() if step == furthest)
    return source, sorted(rank for rank in steps if steps[rank] < furthest), furthest + 1


def draw_steps(r: random.Random) -> tuple[dict[int, int], int]:
    """Members in any order; some have applied one step more, one may be new."""
    members = r.sample(range(8), r.randrange(2, 6))
    step = r.randrange(10, 90)
    steps = {rank: step + (r.random() < 0.4) for rank in members}
    if r.random() < 0.5:
        steps[min(members)] = 0
    return steps, r.choice([1, 2, 3])


def rolls_back(steps: dict[int, int], minimum: int) -> tuple[int, list[int], int] | None:
    if len(steps) < minimum:
        return None
    least = min(step for step in steps.values() if step or not any(steps.values()))
    source = min(rank for rank, step in steps.items() if step == least)
    return source, sorted(rank for rank in steps if steps[rank] != least), least + 1


def trusts_the_lowest(steps: dict[int, int], minimum: int) -> tuple[int, list[int], int] | None:
    if len(steps) < minimum:
        return None
    source = min(steps)
    return (
        source,
        sorted(rank for rank in steps if steps[rank] != steps[source]),
        (steps[source] + 1),
    )


def never_pauses(steps: dict[int, int], minimum: int) -> tuple[int, list[int], int] | None:
    return roll_forward(steps, 0)


EXERCISES = {
    "elastic.1": Exercise(
        reference=my_rows,
        draw=draw_rows,
        mistakes={
            "neighbours belong together: a stride is another order of the sum": strides,
            "what is left over when size does not divide the batch belongs to somebody too": (
                drops_the_rest
            ),
            "the last batch of an epoch is shorter than the others": forgets_the_short_batch,
        },
        cases=30,
    ),
    "elastic.2": Exercise(
        reference=judge,
        draw=draw_message,
        mistakes={
            "a step of another view was summed by other members: look at the view": has_no_view,
            "what is applied already would be applied twice": has_no_step,
            "a step may not be applied while those before it are missing": leaves_a_gap,
        },
        cases=40,
    ),
    "elastic.3": Exercise(
        reference=roll_forward,
        draw=draw_steps,
        mistakes={
            "a step that anybody has applied counts: go forward, not back": rolls_back,
            "the lowest rank may be the newcomer, with nothing in its hands": trusts_the_lowest,
            "with fewer than the minimum nobody goes on": never_pauses,
        },
        cases=40,
    ),
}
