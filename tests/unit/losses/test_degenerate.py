"""No NaN and no infinite gradient from any finite input, however degenerate."""

from __future__ import annotations

import itertools

import pytest
import torch

from had_core.losses.had import had_loss
from had_core.losses.lwf import hard_loss, soft_loss
from had_core.losses.supervised import supervised_loss
from had_core.methods.had import GroupMean, HadLossConfig, Variant
from had_core.tasks import DenseTask, TaskKind

SHAPES = [(2, 6, 8), (1, 1, 1), (3, 1, 7), (2, 9, 1), (2, 2, 2)]


def ramp(shape):
    return torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)


PAIRS = {
    "identical": lambda shape: (ramp(shape), ramp(shape)),
    "all zero": lambda shape: (torch.zeros(shape), torch.zeros(shape)),
    "zero teacher": lambda shape: (ramp(shape), torch.zeros(shape)),
    "zero student": lambda shape: (torch.zeros(shape), ramp(shape)),
    "constant loss": lambda shape: (torch.full(shape, 3.0), torch.full(shape, 1.0)),
    "opposite": lambda shape: (-ramp(shape), ramp(shape)),
    "huge": lambda shape: (1e6 * ramp(shape), -1e6 * ramp(shape)),
    "tiny": lambda shape: (1e-20 * ramp(shape), -1e-20 * ramp(shape)),
    "one pixel": lambda shape: (ramp(shape).where(ramp(shape) < 1, 5), ramp(shape)),
}
CONFIGS = [
    HadLossConfig(),
    HadLossConfig(eps=1e-12, k=0.0),
    HadLossConfig(mean=GroupMean.ARITHMETIC, k=0.99),
    HadLossConfig(bins=15),
    HadLossConfig(variant=Variant.RELEASED),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_had(task, pair):
    for (b, h, w), config in itertools.product(SHAPES, CONFIGS):
        student, teacher = PAIRS[pair]((b, task.channels, h, w))
        student.requires_grad_()
        db_B, sg_B = had_loss(task, student, teacher, config)
        assert db_B.shape == sg_B.shape == (b,)
        assert db_B.isfinite().all() and sg_B.isfinite().all(), ((b, h, w), config)
        (db_B + sg_B).sum().backward()
        assert student.grad.isfinite().all(), ((b, h, w), config)


@pytest.mark.parametrize("pair", PAIRS)
def test_lwf(task, pair):
    for loss in (hard_loss, lambda *args: soft_loss(*args, 2.0)):
        student, teacher = PAIRS[pair]((2, task.channels, 3, 4))
        value_B = loss(task, student.requires_grad_(), teacher)
        value_B.sum().backward()
        assert value_B.shape == (2,)
        assert value_B.isfinite().all() and student.grad.isfinite().all()


def test_a_worker_without_an_image(task):
    empty = torch.zeros(0, task.channels, 4, 5)
    target = torch.zeros(0, 4, 5, dtype=torch.int64) if task.kind is TaskKind.LABELS else empty
    assert [x.shape for x in had_loss(task, empty, empty, HadLossConfig())] == [(0,), (0,)]
    assert supervised_loss(task, empty, target).shape == (0,)
    assert soft_loss(task, empty, empty, 2.0).shape == (0,)


@pytest.mark.parametrize("config", CONFIGS[:1] + CONFIGS[3:4], ids=["two groups", "bins"])
def test_nan_comes_through(task, config):
    """So that the stage loop sees a diverged net and says where; nothing crashes before."""
    student, teacher = torch.full((2, 1, task.channels, 3, 4), torch.nan)
    db_B, sg_B = had_loss(task, student, ramp(teacher.shape), config)
    assert db_B.isnan().all() and sg_B.isfinite().all()
    db_B, _ = had_loss(task, ramp(teacher.shape), teacher, config)
    assert db_B.isnan().all() or task.kind in (TaskKind.LABELS, TaskKind.BINARY)


def invalid_targets(task, shape):
    b, h, w = shape
    if task.kind is TaskKind.LABELS:
        return torch.full((b, h, w), int(task.invalid))
    return torch.full((b, task.channels, h, w), float(task.invalid or 0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_supervised_without_a_valid_pixel_is_0(task, shape):
    target = invalid_targets(task, shape)
    output = ramp((shape[0], task.channels, *shape[1:])).clone().requires_grad_()
    loss_B = supervised_loss(task, output, target)
    loss_B.sum().backward()
    assert torch.equal(loss_B, torch.zeros(shape[0])) and not output.grad.any()


@pytest.mark.parametrize("pair", PAIRS)
def test_supervised(task, pair):
    output, other = PAIRS[pair]((2, task.channels, 3, 4))
    target = other
    if task.kind is TaskKind.LABELS:
        target = torch.arange(24).view(2, 3, 4) % (task.channels + 1) - 1
    elif task.kind is TaskKind.BINARY:
        target = (other > 0).float()
    loss_B = supervised_loss(task, output.requires_grad_(), target)
    loss_B.sum().backward()
    assert loss_B.isfinite().all() and output.grad.isfinite().all()


def test_what_an_invalid_pixel_holds_does_not_matter():
    """Some sets mark holes by infinity or NaN in the unused place."""
    task = DenseTask("depth", TaskKind.SCALAR, 1, invalid=float("inf"))
    output = ramp((1, 1, 2, 3)).clone().requires_grad_()
    target = ramp((1, 1, 2, 3)).where(torch.tensor([True, False, True]), torch.inf)
    loss_B = supervised_loss(task, output, target)
    loss_B.sum().backward()
    assert loss_B.isfinite().all() and output.grad.isfinite().all()


@pytest.mark.parametrize("kind", [TaskKind.LABELS, TaskKind.SCALAR])
def test_every_pixel_counts_where_none_can_be_invalid(kind):
    task = DenseTask("x", kind, 3 if kind is TaskKind.LABELS else 1)
    output = ramp((1, task.channels, 2, 2))
    zeros = torch.zeros(1, 2, 2, dtype=torch.int64)
    target = zeros if kind is TaskKind.LABELS else zeros[:, None].float()
    expected = (
        torch.nn.functional.cross_entropy(output, zeros)
        if kind is TaskKind.LABELS
        else output.abs().mean()
    )
    torch.testing.assert_close(supervised_loss(task, output, target)[0], expected)
