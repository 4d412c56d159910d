"""A row of R does not depend on how many workers computed it."""

from __future__ import annotations

import math

import pytest
import torch
from micro import fit_config
from thread_parallel import on_ranks

from had_core.configs import View
from had_core.data.rooms import TASKS
from had_core.errors import NonFiniteNet
from had_core.evaluation import evaluate
from had_core.methods import NaiveConfig
from had_core.stage import Runtime, fit

COUNTED = {"miou", "pixel_acc", "iou", "within_11.25", "within_22.5", "within_30", "median_deg"}


@pytest.fixture(scope="module")
def trained(micro_dataset):
    """A net with a head for every kind of task."""
    names = tuple(task.name for task in TASKS)
    views = tuple(View(name, 0) for name in names)
    config = fit_config(1, NaiveConfig(), tasks=names, views=views)
    return config, fit(config, micro_dataset).state


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("split", ["test", "val"])
def test_one_and_more_ranks_score_the_same(micro_dataset, trained, split, ranks):
    config, weights = trained
    alone = evaluate(config, weights, micro_dataset, split)
    rows = on_ranks(
        ranks,
        lambda rank: evaluate(
            config, weights, micro_dataset, split, runtime=Runtime(parallel=rank)
        ),
    )
    assert set(alone) == {task.name for task in TASKS}
    assert rows[1:] == rows[:-1], "ranks disagree"
    for task in TASKS:
        assert set(alone[task.name]) == {metric.name for metric in task.metrics}
        for metric, value in alone[task.name].items():
            found = rows[0][task.name][metric]
            if metric in COUNTED:
                assert found == value, (task.name, metric)
            else:
                assert found == pytest.approx(value, rel=1e-9), (task.name, metric)


@pytest.mark.parametrize("name", [task.name for task in TASKS])
def test_outputs_that_are_not_finite_score_nothing(micro_dataset, trained, name):
    """NaN would count as some class, or as an angle of 0."""
    config, weights = trained
    last = next(key for key in weights if key.startswith(f"heads.{name}.") and "bias" in key)
    broken = {**weights, last: torch.full_like(weights[last], math.nan)}

    def attempt(parallel):
        with pytest.raises(NonFiniteNet, match="not finite on the test images"):
            evaluate(config, broken, micro_dataset, "test", runtime=Runtime(parallel=parallel))

    on_ranks(2, attempt)
