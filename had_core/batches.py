"""From dataset rows to the tensors of one step, on one rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from had_core.canonical import derive_seed
from had_core.configs import Augment
from had_core.data import Split
from had_core.data.slices import Slicing, check_batches, epoch_batches
from had_core.fit_config import FitConfig
from had_core.parallel import Parallel
from had_core.tasks import DenseTask, TaskKind

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """This rank's part of one global batch.

    Attributes:
        rows: dataset rows of this rank's images, ``[B]``.
        image_B3HW: float32 in 0..1, channels-last in memory.
        target: per new task, shaped as in ``TaskKind``.
        visible_B: per new task, 1 where this fit may see the image's labels, else 0.
        images: images in the *global* batch.
        labelled: per new task, visible images of the global batch with a valid pixel.
    """

    rows: Rows
    image_B3HW: Tensor
    target: Mapping[str, Tensor]
    visible_B: Mapping[str, Tensor]
    images: int
    labelled: Mapping[str, int]


class BatchSource:
    """The batches of a fit, the same global ones whatever the number of ranks.

    The permutation of an epoch follows from (seed, tasks, epoch) alone: trials that differ in
    weights or method see the same batches.
    """

    def __init__(
        self, config: FitConfig, split: Split, parallel: Parallel, device: torch.device
    ) -> None:
        self._config, self._split, self._parallel, self._device = config, split, parallel, device
        slicing = Slicing(len(split), config.slicing)
        self._tasks = tuple(split.tasks[name] for name in config.new_tasks)
        per_view = {
            view.task: slicing.all() if view.slice is None else slicing.slice(view.slice)
            for view in config.views
        }
        self.rows: Rows = np.unique(np.concatenate(list(per_view.values())))
        self._visible = {task: _mask(rows, len(split)) for task, rows in per_view.items()}
        self._labelled = {
            task: _mask(rows[split.labelled(task, rows)], len(split))
            for task, rows in per_view.items()
        }
        self._seed = derive_seed(config.seed, "batches", list(config.tasks))
        check_batches(len(self.rows), config.train, parallel.world_size)

    @property
    def steps_per_epoch(self) -> int:
        whole, rest = divmod(len(self.rows), self._config.train.batch_size)
        return whole + (1 if rest and not self._config.train.drop_last else 0)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Batches of the 1-based ``epoch``, in order."""
        train = self._config.train
        for step, rows in enumerate(
            epoch_batches(self.rows, train.batch_size, train.drop_last, self._seed, epoch)
        ):
            yield self._load(rows, derive_seed(self._seed, "augment", epoch, step))

    def _load(self, global_rows: Rows, augment_seed: int) -> Batch:
        parts = np.array_split(np.arange(len(global_rows)), self._parallel.world_size)
        mine = parts[self._parallel.rank]
        rows = global_rows[mine]
        image_B3HW = self.images(rows)
        target = {task.name: self._target(task, rows) for task in self._tasks}
        if self._config.train.augment is Augment.FLIP:
            flips = np.random.default_rng(augment_seed).random(len(global_rows)) < 0.5
            flip_B = torch.from_numpy(flips[mine]).to(self._device)
            image_B3HW = _flip(image_B3HW, flip_B)
            target = {t.name: _flip_target(t, target[t.name], flip_B) for t in self._tasks}
        return Batch(
            rows=rows,
            image_B3HW=image_B3HW,
            target=target,
            visible_B={
                name: torch.from_numpy(mask[rows].astype(np.float32)).to(self._device)
                for name, mask in self._visible.items()
            },
            images=len(global_rows),
            labelled={n: int(mask[global_rows].sum()) for n, mask in self._labelled.items()},
        )

    def images(self, rows: Rows) -> Tensor:
        """``[B,3,H,W]`` float32; NHWC memory is channels-last as it stands, without a copy."""
        return torch.from_numpy(self._split.images(rows)).permute(0, 3, 1, 2).to(self._device)

    def _target(self, task: DenseTask, rows: Rows) -> Tensor:
        return target_tensor(task, self._split.targets(task.name, rows), self._device)


def target_tensor(task: DenseTask, target: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """A split's target as ``TaskKind`` shapes it: ``[B,H,W]`` labels, else ``[B,C,H,W]``."""
    tensor = torch.from_numpy(target).to(device)
    return tensor if task.kind is TaskKind.LABELS else tensor.permute(0, 3, 1, 2)


def _mask(rows: Rows, count: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return mask


def _flip(value: Tensor, flip_B: Tensor) -> Tensor:
    flags = flip_B.view(-1, *([1] * (value.dim() - 1)))
    return torch.where(flags, value.flip(-1), value)


def _flip_target(task: DenseTask, target: Tensor, flip_B: Tensor) -> Tensor:
    flipped = _flip(target, flip_B)
    if task.kind is TaskKind.UNIT_VECTOR:  # mirrored left to right, so n_x changes its sign
        sign_B3 = torch.ones(len(flip_B), 3, device=target.device)
        sign_B3[:, 0] = torch.where(flip_B, -1.0, 1.0)
        flipped = flipped * sign_B3[:, :, None, None]
    return flipped
