"""Meters against numpy on all pixels at once, however the images are split up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from had_core.metrics.meters import ANGLE_BIN, histogram_median, meter_for
from had_core.tasks import DenseTask, TaskKind

TASKS = [
    DenseTask("semantic", TaskKind.LABELS, 4, invalid=-1),
    DenseTask("depth", TaskKind.SCALAR, 1, invalid=0, relative_error=True),
    DenseTask("reshading", TaskKind.SCALAR, 1),
    DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
    DenseTask("edge", TaskKind.BINARY, 1, invalid=255),
]
by_kind = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request):
    return request.param


@st.composite
def batches(draw, task):
    """Output and target of some images; often small enough to lack a class or any valid pixel."""
    b, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    output = torch.randn(b, task.channels, h, w, generator=generator)
    drop = draw(st.sampled_from([0.0, 0.3, 1.0]))
    invalid = torch.rand(b, 1, h, w, generator=generator) < drop
    if task.kind is TaskKind.LABELS:
        label = torch.randint(draw(st.integers(1, 4)), (b, h, w), generator=generator)
        return output, label.where(~invalid[:, 0], -1)
    target = torch.randn(b, task.channels, h, w, generator=generator)
    if task.kind is TaskKind.BINARY:
        target = (target > draw(st.sampled_from([0.0, 9.0]))).float()
        output -= draw(st.sampled_from([0.0, 9.0]))
    if task.kind is TaskKind.UNIT_VECTOR:
        target /= target.norm(dim=1, keepdim=True)
    if task.invalid is not None or task.kind is TaskKind.UNIT_VECTOR:
        target = target.where(~invalid, float(task.invalid or 0))
    return output, target


def expected(task, output, target):
    output, target = output.double().numpy(), target.numpy()
    return _BY_KIND[task.kind](task, output, target)


def labels(task, output, target):
    truth, predicted = target[target != -1], output.argmax(1)[target != -1]
    ious = []
    for c in range(task.channels):
        union = ((truth == c) | (predicted == c)).sum()
        if union:
            ious.append(((truth == c) & (predicted == c)).sum() / union)
    return {
        "miou": np.mean(ious) if ious else math.nan,
        "pixel_acc": np.mean(truth == predicted) if len(truth) else math.nan,
    }


def scalar(task, output, target):
    valid = np.ones_like(target, bool) if task.invalid is None else target != task.invalid
    truth, error = target[valid].astype(float), np.abs(output[valid] - target[valid])
    values = {"abs_err": error.mean() if len(error) else math.nan}
    if task.relative_error:
        positive = truth > 0
        relative = error[positive] / truth[positive]
        values["rel_err"] = relative.mean() if len(relative) else math.nan
    return values


def degrees(output, target):
    output, target = (np.moveaxis(x, 1, -1).reshape(-1, 3) for x in (output, target))
    valid = (target != 0).any(1)
    output, target = output[valid], target[valid].astype(float)
    lengths = np.linalg.norm(output, axis=1) * np.linalg.norm(target, axis=1)
    return np.degrees(np.arccos(np.clip((output * target).sum(1) / lengths, -1, 1)))


def unit_vector(task, output, target):
    angle = degrees(output, target)
    names = ("mean_deg", "within_11.25", "within_22.5", "within_30")
    if not len(angle):
        return dict.fromkeys(names, math.nan)
    shares = ((angle < limit).mean() for limit in (11.25, 22.5, 30))
    return dict(zip(names, (angle.mean(), *shares), strict=True))


def binary(task, output, target):
    valid = target != task.invalid
    logit, truth = output[valid], target[valid] == 1
    if not len(logit):
        return {"iou": math.nan, "bce": math.nan}
    p = 1 / (1 + np.exp(-logit))
    union = (truth | (p > 0.5)).sum()
    return {
        "iou": (truth & (p > 0.5)).sum() / union if union else 1.0,
        "bce": -np.log(np.where(truth, p, 1 - p)).mean(),
    }


_BY_KIND = {
    TaskKind.LABELS: labels,
    TaskKind.SCALAR: scalar,
    TaskKind.UNIT_VECTOR: unit_vector,
    TaskKind.BINARY: binary,
}


@by_kind
@given(data=st.data())
def test_values(task, data):
    output, target = data.draw(batches(task))
    meter = meter_for(task)
    meter.update(output, target)
    found = meter.compute()
    assert list(found) == [metric.name for metric in task.metrics]
    for name, value in expected(task, output, target).items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


@by_kind
@given(data=st.data())
def test_median_lies_within_a_bin_of_the_middle_values(data):
    task = TASKS[3]
    output, target = data.draw(batches(task))
    angles = np.sort(degrees(output.double().numpy(), target.numpy()))
    meter = meter_for(task)
    meter.update(output, target)
    found = meter.compute()["median_deg"]
    if not len(angles):
        assert math.isnan(found)
        return
    low, high = angles[(len(angles) - 1) // 2], angles[len(angles) // 2]
    assert low - ANGLE_BIN <= found <= high + ANGLE_BIN


@by_kind
@given(data=st.data())
def test_splitting_over_ranks_changes_no_count(task, data):
    """States add up: by ``merge``, and by summing tensors as an all-reduce does."""
    output, target = data.draw(batches(task))
    cut = data.draw(st.integers(0, len(output)))
    whole, ranks = meter_for(task), [meter_for(task), meter_for(task)]
    whole.update(output, target)
    ranks[0].update(output[:cut], target[:cut])
    ranks[1].update(output[cut:], target[cut:])
    left, right = (rank.state() for rank in ranks)
    summed = meter_for(task)
    summed.load_state({name: left[name] + right[name] for name in left})
    ranks[0].merge(ranks[1])
    for other in (summed, ranks[0]):
        for name, value in whole.state().items():
            if value.dtype == torch.int64:
                assert torch.equal(other.state()[name], value)
            else:
                torch.testing.assert_close(other.state()[name], value, rtol=1e-12, atol=1e-12)
        assert other.compute() == pytest.approx(whole.compute(), rel=1e-9, nan_ok=True)


def test_an_empty_meter_is_undefined(task):
    values = meter_for(task).compute()
    assert list(values) == [metric.name for metric in task.metrics]
    assert all(math.isnan(value) for value in values.values())


def test_a_state_is_a_copy(task):
    meter = meter_for(task)
    for value in meter.state().values():
        value += 1
    assert not any(value.any() for value in meter.state().values())


@pytest.mark.parametrize(
    ("counts", "median"),
    [
        ([0, 4, 0], 1.5),  # all in one bin: its middle
        ([1, 0, 1], 1.0),  # the lower of two: the top of its bin
        ([1, 2, 1], 2.0 - 0.5),
        ([0, 0, 5], 2.5),
        ([3, 1, 0], 2 / 3),
    ],
)
def test_median_of_grouped_data(counts, median):
    assert histogram_median(torch.tensor(counts), 1.0) == pytest.approx(median)


def test_small_angles_survive_the_arc_cosine():
    """In float32 the cosine of 0.01 degrees is 1."""
    task, angle = TASKS[3], math.radians(0.01)
    meter = meter_for(task)
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    meter.update(torch.tensor([math.sin(angle), 0.0, math.cos(angle)]).view(1, 3, 1, 1), target)
    assert meter.compute()["mean_deg"] == pytest.approx(0.01, rel=1e-3)


def test_an_output_without_direction_counts_as_90_degrees():
    meter = meter_for(TASKS[3])
    meter.update(
        torch.zeros(1, 3, 2, 2), torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    )
    assert meter.compute()["mean_deg"] == pytest.approx(90)
