from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.search.objective import (
    OrderScore,
    combine,
    common_sequence,
    directions,
    running,
)
from orchestrator.search.settings import Objective

values = st.lists(st.floats(-100, 100), min_size=1, max_size=12)


def test_mean_and_worst() -> None:
    assert combine(Objective.MEAN, [1.0, 2.0, 6.0], 0.5) == 3.0
    assert combine(Objective.WORST, [1.0, -2.0, 6.0], 0.5) == -2.0
    assert combine(Objective.FINAL_AND_FORGETTING, [1.0, 2.0, 6.0], 0.5) == 3.0


@pytest.mark.parametrize(
    ("alpha", "value"),
    [
        (1.0, 3.5),  # all six: the mean
        (0.5, 2.0),  # the worst three
        (1 / 6, 1.0),  # the worst one
        (0.01, 1.0),
        (0.25, (1 + 0.5 * 2) / 1.5),  # one and a half of six
    ],
)
def test_cvar_is_the_mean_of_the_worst_share(alpha: float, value: float) -> None:
    shuffled = [4.0, 1.0, 6.0, 3.0, 2.0, 5.0]
    assert combine(Objective.CVAR, shuffled, alpha) == pytest.approx(value)


@given(values, st.floats(0.01, 1.0))
def test_cvar_lies_between_the_worst_and_the_mean(deltas: list[float], alpha: float) -> None:
    worst, cvar, mean = (
        combine(objective, deltas, alpha)
        for objective in (Objective.WORST, Objective.CVAR, Objective.MEAN)
    )
    assert worst - 1e-9 <= cvar <= mean + 1e-9


@given(values)
def test_cvar_grows_with_its_share_up_to_the_mean(deltas: list[float]) -> None:
    shares = [combine(Objective.CVAR, deltas, k / 10) for k in range(1, 11)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(shares))
    assert shares[-1] == pytest.approx(combine(Objective.MEAN, deltas, 1.0), abs=1e-9)


def test_two_objectives_are_final_performance_and_forgetting() -> None:
    scores = [OrderScore(1.0, 0.5), OrderScore(3.0, 0.1)]
    assert running(Objective.FINAL_AND_FORGETTING, scores, 0.5) == (2.0, 0.3)
    assert running(Objective.WORST, scores, 0.5) == (1.0,)
    assert directions(Objective.FINAL_AND_FORGETTING) == ("maximize", "minimize")
    assert directions(Objective.CVAR) == ("maximize",)


def test_the_sequence_of_orders_depends_on_the_seed_and_nothing_else() -> None:
    orders = tuple(itertools.permutations("abcd"))
    first = common_sequence(orders, 0)
    assert set(first) == set(orders)
    assert common_sequence(tuple(reversed(orders)), 0) == first
    assert common_sequence(orders, 1) != first != orders
    # Orders that come later leave the others in sequence.
    few = common_sequence(orders[:10], 0)
    assert [order for order in first if order in few] == list(few)


def test_the_sequence_is_no_matter_of_chance() -> None:
    """Golden: a continued sweep has to compare the same sets of orders."""
    assert common_sequence((*itertools.permutations("ab"), ("c",)), 0) == GOLDEN


GOLDEN = (("c",), ("a", "b"), ("b", "a"))


@given(values)
def test_running_values_are_finite(deltas: list[float]) -> None:
    scores = [OrderScore(delta, 0.0) for delta in deltas]
    assert all(math.isfinite(v) for o in Objective for v in running(o, scores, 0.5))
