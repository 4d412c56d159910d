"""One and two workers with the same global batch have the same gradients."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from micro import MICRO_TRAIN, fit_config
from thread_parallel import on_ranks

from had_core.batches import BatchSource
from had_core.building import build_net, resolve_tasks, trained_parameters
from had_core.configs import Norm, TeacherCache
from had_core.methods import HadConfig, NaiveConfig
from had_core.parallel import Solo
from had_core.stage import fit
from had_core.step import StageContext, StageTrainer
from had_core.teacher import LiveTeacher


class _NoUpdate:
    """Stands in for the optimiser: the gradients stay readable."""

    def step(self, step: int) -> None:
        return None


def gradients(config, dataset, student, teacher, parallel, dtype):
    """Reduced gradients of the first batch, by parameter name."""
    split = dataset.split("train")
    source = BatchSource(config, split, parallel, torch.device("cpu"))
    tasks = resolve_tasks(config, split.tasks)
    net = build_net(config, tasks, teacher)
    net.load_state_dict(dict(student))
    net = net.to(dtype)
    net.set_parallel(parallel)
    distilled = config.method.distilled(config.old_tasks)
    trained = trained_parameters(config, net, distilled)
    stage = StageContext(net, tasks[:-1], tasks[-1:], {})
    live = None
    if distilled:
        frozen = build_net(config, tasks, teacher).to(dtype).frozen_copy()
        live = LiveTeacher(frozen, distilled, config.train.precision)
    trainer = StageTrainer(stage, config.method.build(), live, config.train, trained, 1, parallel)
    trainer.optimizer = _NoUpdate()
    batch = next(iter(source.epoch(1)))
    batch = replace(
        batch,
        image_B3HW=batch.image_B3HW.to(dtype),
        target={
            name: target if target.dtype == torch.int64 else target.to(dtype)
            for name, target in batch.target.items()
        },
    )
    trainer.step(batch, 1, 0)
    return {name: parameter.grad.clone() for name, parameter in trained.items()}


def relative_gap(left, right):
    a = torch.cat([left[name].flatten().double() for name in sorted(left)])
    b = torch.cat([right[name].flatten().double() for name in sorted(right)])
    return ((a - b).norm() / a.norm()).item()


@pytest.fixture(scope="module")
def learned(micro_dataset):
    """A fit of two tasks: its configuration, the parent's weights, its own after one epoch.

    Before that epoch student and teacher agree, and rounding decides HAD's gradient.
    """
    train = replace(MICRO_TRAIN, epochs=1, teacher_cache=TeacherCache.OFF)

    @cache
    def parent_of(net):
        return fit(fit_config(1, net=net, train=train), micro_dataset).state

    @cache
    def learn(norm, method):
        net = replace(fit_config().net, norm=norm)
        config = fit_config(2, method, net=net, train=train)
        return config, parent_of(net), fit(config, micro_dataset, parent=parent_of(net)).state

    return learn


@pytest.mark.parametrize("norm", [Norm.GROUP, Norm.FROZEN, Norm.SYNC])
@pytest.mark.parametrize(
    ("method", "dtype", "bound"),
    [
        (NaiveConfig(), torch.float32, 1e-5),
        (HadConfig(), torch.float32, 1e-3),
        (NaiveConfig(), torch.float64, 1e-9),
        (HadConfig(), torch.float64, 1e-9),
    ],
    ids=["naive-float32", "had-float32", "naive-float64", "had-float64"],
)
def test_one_and_two_ranks(micro_dataset, learned, norm, method, dtype, bound):
    config, parent, student = learned(norm, method)
    one = gradients(config, micro_dataset, student, parent, Solo(), dtype)
    two = on_ranks(2, lambda rank: gradients(config, micro_dataset, student, parent, rank, dtype))
    for rank in two:
        assert relative_gap(one, rank) <= bound
