"""What a method adds up in one step: names and weights of its terms."""

from __future__ import annotations

import pytest
import torch

from had_core.losses.had import had_loss
from had_core.losses.lwf import hard_loss, soft_loss
from had_core.losses.released import released_prediction, released_supervised_loss
from had_core.losses.supervised import supervised_loss
from had_core.methods import HadConfig, HadLossConfig, JointConfig, LwfConfig, NaiveConfig
from had_core.methods.had import Variant
from had_core.methods.lwf import Targets
from had_core.tasks import DenseTask, TaskKind

SEMANTIC = DenseTask("semantic", TaskKind.LABELS, 4, invalid=-1)
DEPTH = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0)
NORMAL = DenseTask("normal", TaskKind.UNIT_VECTOR, 3)
IMAGES, LABELLED = 4, 3  # of the global batch


class Step:
    """Outputs of chance; remembers whose teacher was asked for."""

    def __init__(self, old=(SEMANTIC, DEPTH), new=(NORMAL,)):
        self.old_tasks, self.new_tasks = old, new
        self.asked: list[str] = []

    def _draw(self, task, seed):
        generator = torch.Generator().manual_seed(seed + len(task.name))
        return torch.randn(2, task.channels, 6, 8, generator=generator)

    def student(self, task):
        return self._draw(task, 0)

    def teacher(self, task):
        self.asked.append(task.name)
        return self._draw(task, 100)

    def target(self, task):
        if task.kind is TaskKind.LABELS:
            return torch.arange(96).view(2, 6, 8) % 5 - 1
        return self._draw(task, 200)

    def mean_over_images(self, per_image_B):
        return per_image_B.sum() / IMAGES

    def mean_over_labelled(self, per_image_B, task):
        return per_image_B.sum() / LABELLED


def new_term(task):
    step = Step()
    return supervised_loss(task, step.student(task), step.target(task)).sum() / LABELLED


def test_naive_adds_up_the_new_tasks():
    terms = NaiveConfig().build().terms(Step(old=(), new=(SEMANTIC, NORMAL)))
    assert terms == {"new/semantic": new_term(SEMANTIC), "new/normal": new_term(NORMAL)}


def test_joint_behaves_as_naive():
    step = Step(old=(), new=(SEMANTIC, DEPTH))
    assert JointConfig().build().terms(step) == NaiveConfig().build().terms(step)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_had_weighs_by_lambda_over_the_number_of_old_tasks(beta):
    loss = HadLossConfig(beta=beta, k=0.5)
    terms = HadConfig(weight=3.0, loss=loss).build().terms(Step())
    expected = {"new/normal": new_term(NORMAL)}
    for task in (SEMANTIC, DEPTH):
        db_B, sg_B = had_loss(task, Step().student(task), Step().teacher(task), loss)
        if beta < 1:
            expected[f"db/{task.name}"] = 3 / 2 * (1 - beta) * db_B.sum() / IMAGES
        if beta > 0:
            expected[f"sg/{task.name}"] = 3 / 2 * beta * sg_B.sum() / IMAGES
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_released_had_divides_by_nothing_and_pools_the_new_loss():
    loss = HadLossConfig(variant=Variant.RELEASED)
    step = Step()
    terms = HadConfig(weight=3.0, loss=loss).build().terms(step)
    db_B, _ = had_loss(DEPTH, step.student(DEPTH), step.teacher(DEPTH), loss)
    torch.testing.assert_close(terms["db/depth"], 3 * 0.5 * db_B.sum() / IMAGES)
    prediction = released_prediction(NORMAL, step.student(NORMAL))
    pooled = released_supervised_loss(NORMAL, prediction, step.target(NORMAL))
    torch.testing.assert_close(terms["new/normal"], pooled * 2 / IMAGES)


@pytest.mark.parametrize("variant", Variant)
def test_had_with_lambda_0_is_naive_bit_for_bit(variant):
    step = Step()
    terms = HadConfig(weight=0.0, loss=HadLossConfig(variant=variant)).build().terms(step)
    assert terms == NaiveConfig().build().terms(Step())
    assert step.asked == []


def test_a_task_of_weight_0_costs_no_teacher_but_still_counts_as_old():
    step = Step()
    terms = HadConfig(weight={"semantic": 0.0, "depth": 2.0}).build().terms(step)
    assert step.asked == ["depth"] and set(terms) == {"new/normal", "db/depth", "sg/depth"}
    db_B, _ = had_loss(DEPTH, step.student(DEPTH), step.teacher(DEPTH), HadLossConfig())
    torch.testing.assert_close(terms["db/depth"], 2 / 2 * 0.5 * db_B.sum() / IMAGES)


@pytest.mark.parametrize("targets", Targets)
def test_lwf_sums_over_old_tasks(targets):
    terms = LwfConfig(weight=2.0, targets=targets).build().terms(Step())
    assert set(terms) == {"new/normal", "lwf/semantic", "lwf/depth"}
    for task in (SEMANTIC, DEPTH):
        pair = Step().student(task), Step().teacher(task)
        soft = targets is Targets.SOFT
        loss_B = soft_loss(task, *pair, 2.0) if soft else hard_loss(task, *pair)
        torch.testing.assert_close(terms[f"lwf/{task.name}"], 2 * loss_B.sum() / IMAGES)


def test_lwf_with_lambda_0_is_naive():
    step = Step()
    assert LwfConfig(weight=0).build().terms(step) == NaiveConfig().build().terms(Step())
    assert step.asked == []
