"""The stage-3 problem of the step benchmark, and our step on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from reference_step import PlainNet, ReferenceStep
from torch import Tensor
from torch.nn import functional as F

from had_core.batches import Batch
from had_core.building import build_net
from had_core.configs import (
    Encoder,
    NetConfig,
    Norm,
    Precision,
    SlicingConfig,
    TeacherCache,
    TrainConfig,
    View,
)
from had_core.fit_config import FitConfig
from had_core.methods.had import HadConfig, HadLossConfig, Variant
from had_core.parallel import Solo
from had_core.stage import Runtime, prepare
from had_core.tasks import DenseTask, TaskKind
from had_core.teacher import CachedTeacher, LiveTeacher

TASKS = (
    DenseTask("semantic", TaskKind.LABELS, 13, -1),
    DenseTask("depth", TaskKind.SCALAR, 1, 0, "m"),
    DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
)
OLD = TASKS[:2]
EPOCHS = 20  # over which filling the cache is spread
REFERENCE = "reference"
OURS = {
    "float32": (Precision.FLOAT32, TeacherCache.OFF),
    "float32 cached": (Precision.FLOAT32, TeacherCache.FLOAT32),
    "bf16": (Precision.BF16, TeacherCache.OFF),
    "bf16 cached": (Precision.BF16, TeacherCache.FLOAT32),
}
_WARM_UP_STEPS = 3  # after these the student differs from the teacher by more than rounding

Step = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Setting:
    """Size of the problem."""

    batch: int = 4
    height: int = 288
    width: int = 384
    decoder_channels: int = 256
    variant: Variant = Variant.PAPER

    @property
    def net(self) -> NetConfig:
        return NetConfig(Encoder.RESNET18, 8, Norm.BATCH, self.decoder_channels, (12, 24, 36))

    @property
    def method(self) -> HadConfig:
        return HadConfig(loss=HadLossConfig(variant=self.variant))

    def fit(self, precision: Precision, cache: TeacherCache) -> FitConfig:
        return FitConfig(
            tasks=tuple(task.name for task in TASKS),
            views=(View("normal", 2),),
            method=self.method,
            net=self.net,
            train=TrainConfig(
                epochs=EPOCHS, batch_size=self.batch, precision=precision, teacher_cache=cache
            ),
            slicing=SlicingConfig(slices=3),
        )


class Scene:
    """A batch source of one batch: smooth images, NYUv2-like normals (some pixels invalid)."""

    steps_per_epoch = 1

    def __init__(self, setting: Setting) -> None:
        generator = torch.Generator().manual_seed(0)
        size = (setting.height, setting.width)

        def smooth(channels: int, cells: int) -> Tensor:
            coarse = torch.randn(setting.batch, channels, cells, cells, generator=generator)
            return F.interpolate(coarse, size, mode="bicubic")

        noise = 0.05 * torch.randn(setting.batch, 3, *size, generator=generator)
        self.image = (0.5 + 0.25 * smooth(3, 9) + noise).clamp(0, 1)
        self.normal = F.normalize(smooth(3, 5), dim=1) * (smooth(1, 12) > -0.8)
        self.rows: npt.NDArray[np.int64] = np.arange(setting.batch)

    def images(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """As a batch source gives them: NHWC in memory."""
        return self.image[torch.from_numpy(rows)].contiguous(memory_format=torch.channels_last)

    def batch(self) -> Batch:
        count = len(self.rows)
        return Batch(
            rows=self.rows,
            image_B3HW=self.images(self.rows),
            target={"normal": self.normal.contiguous(memory_format=torch.channels_last)},
            visible_B={"normal": torch.ones(count)},
            images=count,
            labelled={"normal": count},
        )


class OurStep:
    """The step of ``had_core.stage``, with everything that ``prepare`` makes for it."""

    def __init__(self, config: FitConfig, parent: Mapping[str, Tensor], scene: Scene) -> None:
        by_name = {task.name: task for task in TASKS}
        dataset: Any = SimpleNamespace(split=lambda name: SimpleNamespace(tasks=by_name))
        self._source: Any = scene
        self.trainer, self._teacher = prepare(config, dataset, self._source, parent, {}, Runtime())
        self._precision, self._batch, self._steps = config.train.precision, scene.batch(), 0

    def __call__(self) -> Mapping[str, float]:
        self._steps += 1
        return self.trainer.step(self._batch, 1, self._steps - 1)

    @cached_property
    def _live(self) -> LiveTeacher:
        net = self.trainer.stage.net.frozen_copy()
        return LiveTeacher(net, [task.name for task in OLD], self._precision)

    def fill(self) -> None:
        """Fill a cache with this batch."""
        CachedTeacher(self._live, self._source, Solo(), TeacherCache.FLOAT32, None).close()


@dataclass(frozen=True)
class Problem:
    """What every step starts from: the teacher's weights and a student a few steps later."""

    setting: Setting
    scene: Scene
    parent: dict[str, Tensor]
    student: dict[str, Tensor]

    @classmethod
    def make(cls, setting: Setting) -> Problem:
        scene = Scene(setting)
        config = setting.fit(*OURS["float32"])
        new = (View("semantic", 0), View("depth", 1))
        stage2 = dataclasses.replace(config, tasks=config.tasks[:2], views=new)
        parent = _copy(build_net(stage2, OLD, None).state_dict())
        warm_up = OurStep(config, parent, scene)
        for _ in range(_WARM_UP_STEPS):
            warm_up()
        return cls(setting, scene, parent, _copy(warm_up.trainer.stage.net.state_dict()))

    def step(self, name: str) -> Step:
        """A fresh step by its name, ``REFERENCE`` or one of ``OURS``."""
        if name == REFERENCE:
            return self._reference()
        ours = OurStep(self.setting.fit(*OURS[name]), self.parent, self.scene)
        ours.trainer.stage.net.load_state_dict(self.student)
        return ours

    def _reference(self) -> Step:
        width, rates = self.setting.decoder_channels, self.setting.net.aspp_rates
        student, teacher = PlainNet(TASKS, width, rates), PlainNet(OLD, width, rates)
        student.load_state_dict(self.student)
        teacher.load_state_dict(self.parent)
        method = self.setting.method
        assert isinstance(method.weight, float)
        reference = ReferenceStep(student, teacher, OLD, method.weight, method.loss)
        return lambda: reference.step(self.scene.image, self.scene.normal)


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in state.items()}
