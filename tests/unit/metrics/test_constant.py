"""Constants against numpy on the whole split, and their defining property: nothing beats them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from had_core.errors import BadInput
from had_core.metrics.constant import best_constants, constant_scores
from had_core.metrics.meters import meter_for
from had_core.tasks import DenseTask, TaskKind

LABELS = DenseTask("semantic", TaskKind.LABELS, 4, invalid=-1)
SCALAR = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0, relative_error=True)
UNIT_VECTOR = DenseTask("normal", TaskKind.UNIT_VECTOR, 3)
BINARY = DenseTask("edge", TaskKind.BINARY, 1)


class MemorySplit:
    """A split that lies in memory, with the part of the interface that is used."""

    def __init__(self, targets: dict[DenseTask, np.ndarray]) -> None:
        self.tasks = {task.name: task for task in targets}
        self._targets = {task.name: value for task, value in targets.items()}

    def __len__(self) -> int:
        return len(next(iter(self._targets.values())))

    def targets(self, name, rows):
        return self._targets[name][rows]


def split(seed, count=37):
    """More images than one chunk holds; 3x4 pixels."""
    rng = np.random.default_rng(seed)
    shape = (count, 3, 4)
    direction = rng.normal(size=(*shape, 3)) + np.array([0, 0, 1])
    return MemorySplit(
        {
            LABELS: rng.choice([-1, 0, 1, 2], p=[0.2, 0.2, 0.4, 0.2], size=shape),
            SCALAR: np.abs(rng.normal(2, 1, (*shape, 1))).astype(np.float32),
            UNIT_VECTOR: (direction / np.linalg.norm(direction, axis=-1, keepdims=True)).astype(
                np.float32
            ),
            BINARY: (rng.random((*shape, 1)) < 0.2).astype(np.float32),
        }
    )


def constants(task, data, tasks_rows=None):
    rows = np.arange(len(data)) if tasks_rows is None else tasks_rows
    target = torch.from_numpy(data.targets(task.name, rows))
    target = target if task.kind is TaskKind.LABELS else target.permute(0, 3, 1, 2)
    return best_constants(task, lambda: iter(target.split(5)))


def test_chosen_constants():
    data = split(0)
    assert constants(LABELS, data)[0].argmax() == 1
    depth = data.targets("depth", slice(None))
    median = np.sort(depth[depth != 0])[(np.count_nonzero(depth) - 1) // 2]
    assert constants(SCALAR, data)[0].item() == median
    mean = data.targets("normal", slice(None)).reshape(-1, 3).mean(0)
    torch.testing.assert_close(
        constants(UNIT_VECTOR, data)[0], torch.from_numpy(mean / np.linalg.norm(mean))
    )
    everywhere, share = constants(BINARY, data)
    prevalence = data.targets("edge", slice(None)).mean()
    assert everywhere > 0 and share.sigmoid().item() == pytest.approx(prevalence, abs=1e-3)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30)
)
@settings(max_examples=50)
def test_median_is_exact_for_any_floats(values):
    task = DenseTask("x", TaskKind.SCALAR, 1)
    target = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)
    median = sorted(np.float32(values))[(len(values) - 1) // 2]
    assert best_constants(task, lambda: iter(target.split(4)))[0].item() == median


def test_scores_are_those_of_the_meters_on_the_test_split():
    train, test = split(0), split(1, count=20)
    scores = constant_scores(train, test)
    assert list(scores) == ["semantic", "depth", "normal", "edge"]
    truth = test.targets("semantic", slice(None))
    assert scores["semantic"]["pixel_acc"] == pytest.approx((truth[truth != -1] == 1).mean())
    depth = test.targets("depth", slice(None))
    error = np.abs(depth - constants(SCALAR, train)[0].item())
    assert scores["depth"]["abs_err"] == pytest.approx(error.mean(), rel=1e-6)
    assert scores["edge"]["iou"] == pytest.approx(test.targets("edge", slice(None)).mean())


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        (LABELS, "pixel_acc"),
        (LABELS, "miou"),
        (SCALAR, "abs_err"),
        (BINARY, "bce"),
        (BINARY, "iou"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_no_other_constant_is_better_where_it_was_chosen(task, metric):
    data = split(2)
    best = constant_scores(data, data, tasks=[task.name])[task.name][metric]
    sign = next(m.direction.sign for m in task.metrics if m.name == metric)
    target = torch.from_numpy(data.targets(task.name, slice(None)))
    target = target if task.kind is TaskKind.LABELS else target.permute(0, 3, 1, 2)
    candidates = (
        torch.eye(4) if task.kind is TaskKind.LABELS else torch.linspace(-4, 4, 81)[:, None]
    )
    for output_C in candidates:
        meter = meter_for(task)
        meter.update(output_C.view(1, -1, 1, 1).expand(len(target), -1, 3, 4), target)
        assert sign * meter.compute()[metric] <= sign * best + 1e-5


def test_rows_pick_images():
    data = split(0)
    some = constant_scores(data, data, train_rows=np.arange(3), test_rows=np.arange(5, 9))
    alone = MemorySplit({LABELS: data.targets("semantic", np.arange(5, 9))})
    first = MemorySplit({LABELS: data.targets("semantic", np.arange(3))})
    assert some["semantic"] == constant_scores(first, alone)["semantic"]


@pytest.mark.parametrize("task", [LABELS, SCALAR, UNIT_VECTOR], ids=lambda task: task.name)
def test_a_task_without_labels_is_refused(task):
    shape = (2, 3, 4) if task.kind is TaskKind.LABELS else (2, 3, 4, task.channels)
    fill = -1 if task.kind is TaskKind.LABELS else 0
    dtype = np.int64 if task.kind is TaskKind.LABELS else np.float32
    empty = MemorySplit({task: np.full(shape, fill, dtype)})
    with pytest.raises(BadInput, match=f"task '{task.name}' has no valid pixel"):
        constant_scores(empty, empty)
