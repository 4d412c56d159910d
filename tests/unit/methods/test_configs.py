"""Which fits a method asks for, and which of its settings can matter there. No torch."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from had_core.canonical import canonical_json
from had_core.configs import View
from had_core.errors import BadInput
from had_core.methods import (
    METHODS,
    HadConfig,
    HadLossConfig,
    JointConfig,
    LwfConfig,
    NaiveConfig,
    SingleConfig,
)
from had_core.methods.had import GroupMean, Variant
from had_core.methods.joint import JointSetting
from had_core.methods.lwf import Targets

ORDER = ("semantic", "depth", "normal")
OLD = ORDER[:2]


@pytest.mark.parametrize("config", [cls() for cls in METHODS.values()], ids=lambda c: c.name)
def test_without_an_old_task_every_method_is_naive(config):
    assert config.effective(()) == NaiveConfig()


@pytest.mark.parametrize(
    "config",
    [
        HadConfig(weight=0),
        HadConfig(weight={"semantic": 0, "depth": 0, "normal": 3}),
        HadConfig(weight=0, loss=HadLossConfig(variant=Variant.RELEASED)),
        LwfConfig(weight=0),
    ],
)
def test_weight_0_is_naive_and_asks_no_teacher(config):
    assert config.effective(OLD) == NaiveConfig()
    assert config.distilled(OLD) == ()


def test_weights_of_tasks_that_are_not_old_yet_do_not_matter():
    config = HadConfig(weight={"semantic": 1, "depth": 2, "normal": 7})
    assert config.effective(OLD) == HadConfig(weight={"semantic": 1, "depth": 2})
    assert config.effective(OLD[:1]) == HadConfig(weight=1)
    assert HadConfig(weight={"semantic": 2, "depth": 2}).effective(OLD) == HadConfig(weight=2)


def test_only_tasks_with_a_weight_are_distilled():
    assert HadConfig(weight={"semantic": 0, "depth": 2}).distilled(OLD) == ("depth",)
    assert LwfConfig().distilled(OLD) == OLD
    assert NaiveConfig().distilled(OLD) == ()


def test_an_old_task_without_a_weight_is_named():
    with pytest.raises(BadInput, match="a weight for 'depth'"):
        HadConfig(weight={"semantic": 1}).effective(OLD)


ODD = HadLossConfig(delta=0.3, k=0.7, beta=0.4, eps=1e-6, mean=GroupMean.ARITHMETIC, bins=5)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, {"k", "mean", "bins"}),
        ({"bins": 2}, {"k", "mean", "delta"}),
        ({"mean": GroupMean.GEOMETRIC}, {"k", "eps", "bins"}),
        ({"beta": 0}, {"mean", "bins"}),
        ({"beta": 1}, {"k"}),
        ({"variant": Variant.RELEASED}, {"k", "delta"}),
        ({"variant": Variant.RELEASED, "beta": 0}, {"delta"}),
        ({"variant": Variant.RELEASED, "beta": 1}, {"k"}),
    ],
)
def test_settings_of_the_loss_that_cannot_matter_are_reset(changes, kept):
    given = dataclasses.replace(ODD, **changes)
    effective = HadConfig(loss=given).effective(OLD).loss
    kept = kept | {"beta", "variant"}
    for field in dataclasses.fields(HadLossConfig):
        source = given if field.name in kept else HadLossConfig()
        assert getattr(effective, field.name) == getattr(source, field.name), field.name


def test_what_is_reset_does_not_change_the_loss():
    torch = pytest.importorskip("torch")
    from had_core.losses.had import had_loss
    from had_core.tasks import DenseTask, TaskKind

    task = DenseTask("depth", TaskKind.SCALAR, 1)
    student, teacher = torch.rand(2, 2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    grid = itertools.product((0, 0.4, 1), GroupMean, (2, 5), Variant)
    for beta, mean, bins, variant in grid:
        given = dataclasses.replace(ODD, beta=beta, mean=mean, bins=bins, variant=variant)
        values = []
        for loss in (given, given.effective()):
            db_B, sg_B = had_loss(task, student, teacher, loss)
            values.append((1 - beta) * db_B + beta * sg_B)
        assert torch.equal(*values), given


def test_temperature_matters_for_soft_targets_only():
    assert LwfConfig(temperature=4).effective(OLD) == LwfConfig(temperature=4)
    hard = LwfConfig(temperature=4, targets=Targets.HARD)
    assert hard.effective(OLD) == LwfConfig(targets=Targets.HARD)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LwfConfig(weight=-1), "method.lambda=-1 is not allowed: 0 or more"),
        (lambda: LwfConfig(temperature=0), "method.temperature=0 is not allowed"),
        (lambda: HadConfig(weight={"depth": -2}), "method.lambda=-2 is not allowed"),
        (lambda: HadLossConfig(k=1), "k=1 is not allowed: 0 <= k < 1"),
        (lambda: HadLossConfig(delta=0), "delta=0 is not allowed"),
        (lambda: HadLossConfig(eps=0), "eps=0 is not allowed"),
        (lambda: HadLossConfig(bins=1), "bins=1 is not allowed"),
        (lambda: HadLossConfig(bins=10_001), "bins=10001 is not allowed: 2 to 10000"),
        (lambda: HadLossConfig(beta=2), "beta=2 is not allowed"),
    ],
)
def test_bad_values_are_named(make, said):
    with pytest.raises(BadInput, match=said):
        make()


def test_lambda_is_the_outside_name_of_a_weight():
    for config in (HadConfig(weight=2), LwfConfig(weight=2)):
        assert '"lambda":2' in canonical_json(config)


def test_a_lifelong_method_grows_one_task_a_stage():
    shapes = HadConfig().shape(ORDER)
    assert [shape.parent for shape in shapes] == [None, 0, 1]
    assert [shape.tasks for shape in shapes] == [ORDER[:1], ORDER[:2], ORDER]
    assert [shape.views for shape in shapes] == [(View(task, k),) for k, task in enumerate(ORDER)]
    assert [shape.row for shape in shapes] == [1, 2, 3]


def test_joint_is_one_fit_of_all_tasks_each_on_its_slice():
    (shape,) = JointConfig().shape(ORDER)
    assert shape.parent is None and shape.row == 3
    assert set(shape.views) == {View(task, k) for k, task in enumerate(ORDER)}
    assert shape.tasks == shape.new_tasks == tuple(sorted(ORDER))


def test_orders_share_the_fit_of_mtl_but_not_of_joint():
    for setting, fits in ((JointSetting.MTL, 1), (JointSetting.JOINT, 6)):
        config = JointConfig(setting)
        assert len({config.shape(order) for order in itertools.permutations(ORDER)}) == fits
    (shape,) = JointConfig(JointSetting.MTL).shape(ORDER)
    assert {view.slice for view in shape.views} == {None}


def test_single_trains_a_fresh_net_a_task_and_shares_its_first_fit():
    shapes = SingleConfig().shape(ORDER)
    assert all(shape.parent is None for shape in shapes)
    assert [shape.views for shape in shapes] == [(View(task, k),) for k, task in enumerate(ORDER)]
    assert [shape.tasks for shape in shapes] == [(task,) for task in ORDER]
    assert shapes[0] == NaiveConfig().shape(ORDER)[0]


def test_only_the_released_variant_pools_the_batch():
    released = HadConfig(loss=HadLossConfig(variant=Variant.RELEASED))
    assert released.pools_worker_batch and released.effective(OLD).pools_worker_batch
    assert not any(cls().pools_worker_batch for cls in METHODS.values())
