"""HAD (variant ``paper``) against slow loops: values and gradients to 1e-9 in float64."""

from __future__ import annotations

import loss_reference as reference
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from had_core.losses.distillation import distillation_map
from had_core.losses.had import had_loss, sobel_magnitude
from had_core.methods.had import GroupMean, HadLossConfig
from had_core.tasks import TaskKind

per_kind = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

SITUATIONS = ("random", "identical", "flat teacher", "flat student", "constant loss", "one pixel")


@st.composite
def pairs(draw, channels: int):
    """Student and teacher ``[B,C,H,W]`` float64, sides down to one pixel."""
    b, h, w = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    teacher = torch.randn(b, channels, h, w, dtype=torch.float64, generator=generator)
    student = teacher + torch.randn(teacher.shape, dtype=torch.float64, generator=generator)
    situation = draw(st.sampled_from(SITUATIONS))
    if situation == "identical":
        student = teacher.clone()
    elif situation == "flat teacher":
        teacher = teacher[..., :1, :1].expand_as(teacher).clone()
    elif situation == "flat student":
        student = torch.zeros_like(student)
    elif situation == "constant loss":  # eighths subtract exactly
        teacher = (teacher * 8).round() / 8
        student = teacher + 0.25
    elif situation == "one pixel":
        student = teacher.clone()
        student[..., 0, 0] += 1
    return student, teacher


@st.composite
def loss_configs(draw):
    return HadLossConfig(
        delta=draw(st.sampled_from([0.2, 0.5, 0.8])),
        k=draw(st.sampled_from([0.0, 0.5, 0.9, 0.98])),
        eps=draw(st.sampled_from([1e-6, 1e-3])),
        mean=draw(st.sampled_from(GroupMean)),
        bins=draw(st.sampled_from([2, 5, 10, 15])),
    )


def gradient(loss, task, student, teacher, config, weights):
    student = student.clone().requires_grad_()
    db_B, sg_B = loss(task, student, teacher, config)
    (db_B @ weights[0] + sg_B @ weights[1]).backward()
    return db_B.detach(), sg_B.detach(), student.grad


@per_kind
@given(data=st.data())
def test_values_and_gradients(task, data):
    student, teacher = data.draw(pairs(task.channels))
    config = data.draw(loss_configs())
    weights = torch.tensor([[1.0, 0.5], [0.25, 2.0]], dtype=torch.float64)[:, : len(student)]
    fast = gradient(had_loss, task, student, teacher, config, weights)
    slow = gradient(reference.had, task, student, teacher, config, weights)
    for ours, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@per_kind
@given(data=st.data())
def test_pixel_map(task, data):
    student, teacher = data.draw(pairs(task.channels))
    slow = [
        [list(row) for row in reference.distillation_image(task, s, t)]
        for s, t in zip(student, teacher, strict=True)
    ]
    expected = torch.tensor(slow, dtype=torch.float64)
    torch.testing.assert_close(
        distillation_map(task, student, teacher), expected, rtol=1e-12, atol=1e-12
    )


@given(h=st.integers(1, 6), w=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_sobel(h, w, seed):
    values = torch.rand(h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.tensor(reference.sobel(values.tolist()), dtype=torch.float64)
    torch.testing.assert_close(sobel_magnitude(values[None])[0], expected, rtol=0, atol=1e-12)


@per_kind
@given(data=st.data())
def test_every_image_counts_for_itself(task, data):
    student, teacher = data.draw(pairs(task.channels))
    config = data.draw(loss_configs())
    whole = had_loss(task, student, teacher, config)
    single = [had_loss(task, student[[b]], teacher[[b]], config) for b in range(len(student))]
    for part in (0, 1):
        parts = torch.cat([values[part] for values in single])
        torch.testing.assert_close(whole[part], parts, rtol=1e-12, atol=1e-12)


def images(task, dtype, batch=2, height=48, width=64):
    """Smooth outputs of a student some way from its teacher, as in training."""
    generator = torch.Generator().manual_seed(3)

    def smooth(scale):
        coarse = torch.randn(batch, task.channels, 6, 8, generator=generator, dtype=torch.float64)
        return scale * torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")

    teacher = smooth(2.0)
    return (teacher + smooth(0.3)).to(dtype), teacher.to(dtype)


@pytest.mark.parametrize("eps", [1e-3, 1e-6])
def test_float32_is_close_to_float64(task, eps):
    """The tolerances that follow from eps = 1e-3: loss 1e-4, gradient 1e-3 of its norm."""
    config, weights = HadLossConfig(eps=eps), torch.full((2, 2), 0.5)
    narrow = gradient(had_loss, task, *images(task, torch.float32), config, weights)
    wide = gradient(had_loss, task, *images(task, torch.float64), config, weights.double())
    assert [value.dtype for value in narrow] == [torch.float32] * 3
    for ours, expected in zip(narrow[:2], wide[:2], strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-6)
    assert (narrow[2].double() - wide[2]).norm() <= 1e-3 * wide[2].norm()


def test_channels_last_gives_the_same(task):
    student, teacher = images(task, torch.float64)
    last = [x.contiguous(memory_format=torch.channels_last) for x in (student, teacher)]
    weights = torch.ones(2, 2, dtype=torch.float64)
    for ours, expected in zip(
        gradient(had_loss, task, *last, HadLossConfig(), weights),
        gradient(had_loss, task, student, teacher, HadLossConfig(), weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mean", GroupMean)
def test_gradcheck(task, mean):
    generator = torch.Generator().manual_seed(0)
    shape = (2, task.channels, 3, 4)
    teacher = torch.randn(shape, dtype=torch.float64, generator=generator)
    student = teacher + torch.randn(shape, dtype=torch.float64, generator=generator)
    config = HadLossConfig(mean=mean)
    assert torch.autograd.gradcheck(
        lambda s: had_loss(task, s, teacher, config), student.requires_grad_()
    )


def test_the_teacher_gets_no_gradient(task):
    student, teacher = (x.requires_grad_() for x in images(task, torch.float32))
    sum(values.sum() for values in had_loss(task, student, teacher, HadLossConfig())).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None


def test_labels_of_more_classes_than_a_byte_counts():
    from had_core.losses.pixels import argmax_class

    logits = torch.randn(2, 300, 3, 4, generator=torch.Generator().manual_seed(0))
    logits[:, 280, 0] = logits[:, 299, 0] = 9.0  # the first of equal ones wins
    assert torch.equal(argmax_class(logits), logits.argmax(1))
    assert (argmax_class(logits)[:, 0] == 280).all()


def test_salience_follows_the_loss_not_the_border():
    """With zero padding the border of any map would be its strongest edge."""
    from had_core.losses.had import salient_pixels

    loss = torch.full((1, 12, 16), 5.0)
    loss[:, :, 8:] = 6.0
    assert salient_pixels(loss, 0.9)[0].nonzero()[:, 1].unique().tolist() == [7, 8]


def test_labels_with_a_class_that_no_pixel_has():
    """C counts the non-empty groups: two of five here."""
    from had_core.losses.pixels import pixel_cross_entropy
    from had_core.tasks import DenseTask

    task = DenseTask("semantic", TaskKind.LABELS, 5)
    teacher = torch.zeros(1, 5, 1, 3)
    teacher[0, 1, 0, 0] = teacher[0, 4, 0, 1:] = 1
    student = torch.randn(1, 5, 1, 3, generator=torch.Generator().manual_seed(0))
    loss = pixel_cross_entropy(student, torch.tensor([[[1, 4, 4]]]))[0, 0]
    config = HadLossConfig(mean=GroupMean.ARITHMETIC)
    db, _ = had_loss(task, student, teacher, config)
    torch.testing.assert_close(db[0], (loss[0] + loss[1:].mean()) / 2)
