"""Numbers of a whole sequence on small matrices whose values can be worked out by hand."""

from __future__ import annotations

import json
import math

import pytest

from had_core.errors import BadInput
from had_core.metrics.lifelong import (
    RMatrix,
    Scope,
    bwt,
    delta_m,
    forgetting,
    mean_over_tasks,
    mean_rank,
    plasticity,
)
from had_core.tasks import DenseTask, TaskKind

SEMANTIC = DenseTask("semantic", TaskKind.LABELS, 13, invalid=-1)
DEPTH = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0)
TASKS = (SEMANTIC, DEPTH)


def row(miou=None, abs_err=None, pixel_acc=0.5):
    values = {}
    if miou is not None:
        values["semantic"] = {"miou": miou, "pixel_acc": pixel_acc}
    if abs_err is not None:
        values["depth"] = {"abs_err": abs_err}
    return values


MATRIX = RMatrix(("semantic", "depth"), {1: row(0.4), 2: row(0.1, 0.5, pixel_acc=0.25)})


def test_json_round_trip_keeps_undefined_values():
    matrix = RMatrix(("semantic", "depth"), {1: row(math.nan), 2: row(0.1, 0.5)})
    text = json.dumps(matrix.to_json(), allow_nan=False)
    again = RMatrix.from_json(json.loads(text))
    assert again.to_json() == matrix.to_json()
    assert math.isnan(again.value(1, "semantic", "miou")) and again.rows[2] == matrix.rows[2]


def test_what_was_not_measured_is_nan():
    assert math.isnan(MATRIX.value(1, "depth", "abs_err"))
    assert math.isnan(MATRIX.value(9, "depth", "abs_err"))
    assert MATRIX.history("depth", "abs_err") == (0.5,)
    assert MATRIX.learned("depth") == {"abs_err": 0.5}
    assert MATRIX.learned("edge") == {}


@pytest.mark.parametrize(
    ("rows", "said"),
    [({3: row(0.1)}, "row 3, allowed is 1..2"), ({1: {"edge": {}}}, "task 'edge'")],
)
def test_rows_that_do_not_fit_the_order(rows, said):
    with pytest.raises(BadInput, match=said):
        RMatrix(("semantic", "depth"), rows)


def test_no_row_has_no_last():
    with pytest.raises(BadInput, match="no row yet"):
        _ = RMatrix(("semantic",), {}).last


def test_delta_m_by_hand():
    """semantic: mIoU +100 %, accuracy +20 %; depth: 25 % less error."""
    result = delta_m(TASKS, row(0.4, 0.6, pixel_acc=0.6), row(0.2, 0.8))
    assert result.per_task == pytest.approx({"semantic": 60, "depth": 25})
    assert result.percent == result.plain_percent == pytest.approx(42.5)
    assert result.floored == result.undefined == ()


def test_delta_m_of_the_reference_itself_is_0():
    assert delta_m(TASKS, MATRIX.last, MATRIX.last, row(0.016, 0.98)).percent == 0


def test_delta_m_does_not_explode_where_the_reference_forgot_everything():
    constant = row(0.02, 0.1, pixel_acc=0.2)
    result = delta_m(TASKS, row(0.4, 0.6), row(0.0001, 0.8), constant)
    assert result.floored == (("semantic", "miou"),)
    assert result.per_task["semantic"] == pytest.approx((100 * 0.3999 / 0.02 + 0) / 2)
    assert result.plain_percent > 90_000 > 600 > result.percent


def test_delta_m_leaves_out_what_is_undefined():
    result = delta_m((SEMANTIC,), row(0.4), row(0.0), row(0.0))
    assert result.undefined == (("semantic", "miou"),)
    assert result.percent == 0  # pixel accuracy, unchanged
    assert math.isnan(delta_m(TASKS, {}, {}).percent)


def test_forgetting_by_hand():
    """From 0.4 to 0.1 is three quarters lost; the last task cannot be forgotten."""
    assert forgetting(MATRIX, TASKS) == pytest.approx({"semantic": 0.75})
    assert forgetting(MATRIX, TASKS, Scope.ALL) == pytest.approx({"semantic": (0.75 + 0.5) / 2})
    assert bwt(MATRIX, TASKS) == pytest.approx({"semantic": -0.75})


def test_forgetting_measures_from_the_best_stage_and_bwt_from_its_own():
    matrix = RMatrix(
        ("depth", "semantic", "edge"),
        {1: row(abs_err=0.8), 2: row(0.3, 0.5), 3: row(0.3, 1.0)},
    )
    assert forgetting(matrix, TASKS) == pytest.approx({"semantic": 0, "depth": 1.0})
    assert bwt(matrix, TASKS) == pytest.approx({"semantic": 0, "depth": -0.25})


def test_a_sequence_of_one_stage_forgets_nothing():
    assert forgetting(RMatrix(("semantic", "depth"), {1: row(0.4)}), TASKS) == {}
    assert math.isnan(mean_over_tasks({}))


def test_a_task_that_was_scored_once_has_nothing_to_forget():
    """``joint`` has one row: no forgetting, where 0 would make it the best of all."""
    joint = RMatrix(("semantic", "depth"), {2: row(0.4, 0.5)})
    assert math.isnan(forgetting(joint, TASKS)["semantic"])
    assert math.isnan(bwt(joint, TASKS)["semantic"])


def test_plasticity_compares_each_task_in_its_own_stage():
    single = RMatrix(("semantic", "depth"), {1: row(0.4), 2: row(abs_err=0.4)})
    found = plasticity(MATRIX, single, TASKS)
    assert found == pytest.approx({"semantic": 0, "depth": -0.25})


def test_mean_rank_with_ties_and_directions():
    rows = {
        "had": row(0.4, 0.5),
        "lwf": row(0.4, 0.7),
        "naive": row(0.1, 0.9, pixel_acc=0.2),
    }
    assert mean_rank(rows, TASKS) == pytest.approx(
        {"had": (1.5 + 1.5 + 1) / 3, "lwf": (1.5 + 1.5 + 2) / 3, "naive": 3}
    )


def test_an_undefined_metric_ranks_nobody():
    rows = {"had": row(math.nan, 0.5), "naive": row(0.1, 0.9)}
    assert mean_rank(rows, TASKS) == pytest.approx({"had": 1.25, "naive": 1.75})
    assert all(math.isnan(rank) for rank in mean_rank({"had": {}}, TASKS).values())
