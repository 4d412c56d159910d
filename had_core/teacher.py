"""The frozen teacher: one shared encoder pass for all old tasks, or a cache of its outputs.

The cache is filled once at the start of a stage from *fixed* batches (rows in order), so its
content does not depend on when the stage was interrupted. Its files are memory-mapped: they cost
page cache, not anonymous memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from had_core.batches import BatchSource, Rows
from had_core.configs import Precision, TeacherCache
from had_core.nets.lifelong import LifelongNet
from had_core.parallel import Parallel

FILL_BATCH = 4
_DTYPES: Mapping[TeacherCache, type[np.floating]] = {
    TeacherCache.FLOAT32: np.float32,
    TeacherCache.FLOAT16: np.float16,
}


class Teacher(Protocol):
    def outputs(self, rows: Rows, image_B3HW: Tensor) -> Mapping[str, Tensor]:
        """Head outputs of the distilled tasks at head stride, float32 ``[B,C,h,w]``."""
        ...


class LiveTeacher:
    """Runs the frozen net on every batch."""

    def __init__(self, net: LifelongNet, tasks: Sequence[str], precision: Precision) -> None:
        self._net, self._tasks, self._precision = net, tuple(tasks), precision

    def outputs(self, rows: Rows, image_B3HW: Tensor) -> Mapping[str, Tensor]:
        with torch.inference_mode(), autocast(self._precision, image_B3HW.device):
            heads = self._net.decode(self._net.encode(image_B3HW), self._tasks)
            return {task: widen(head) for task, head in heads.items()}


class CachedTeacher:
    """Looks the outputs up, which were all computed once (``fill_seconds``).

    Each rank computes its share of the fixed batches; a sum over ranks (every other rank holds
    zeros there) hands it to all, whatever machines they are on.
    """

    def __init__(
        self,
        live: LiveTeacher,
        source: BatchSource,
        parallel: Parallel,
        width: TeacherCache,
        folder: Path | None,
    ) -> None:
        self._live, self._source, self._parallel = live, source, parallel
        self._dtype = _DTYPES[width]
        # Removed with this object; a killed process leaves it to the scratch folder's owner.
        self._folder = tempfile.TemporaryDirectory(
            prefix="teacher-", dir=folder, ignore_cleanup_errors=True
        )
        self._slot = {int(row): slot for slot, row in enumerate(source.rows)}
        self._maps: dict[str, npt.NDArray[np.floating]] = {}
        started = time.perf_counter()
        self._fill()
        self.fill_seconds = time.perf_counter() - started

    def outputs(self, rows: Rows, image_B3HW: Tensor) -> Mapping[str, Tensor]:
        slots = [self._slot[int(row)] for row in rows]
        device = image_B3HW.device
        return {
            task: torch.from_numpy(stored[slots].astype(np.float32, copy=False)).to(device)
            for task, stored in self._maps.items()
        }

    def close(self) -> None:
        self._maps.clear()
        self._folder.cleanup()

    def _fill(self) -> None:
        rows, world, rank = self._source.rows, self._parallel.world_size, self._parallel.rank
        chunks = [slice(k, k + FILL_BATCH) for k in range(0, len(rows), FILL_BATCH)]
        # Rounds of one chunk a rank keep the collective's buffer small.
        for start in range(0, len(chunks), world):
            round_ = chunks[start : start + world]
            mine = round_[rank] if rank < len(round_) else None
            computed = self._compute(rows[mine]) if mine is not None else {}
            self._share(round_, computed, mine)

    def _compute(self, rows: Rows) -> Mapping[str, Tensor]:
        return self._live.outputs(rows, self._source.images(rows))

    def _share(
        self, round_: Sequence[slice], computed: Mapping[str, Tensor], mine: slice | None
    ) -> None:
        if self._parallel.world_size == 1:
            assert mine is not None
            for task, head in computed.items():
                self._store(task, mine, head.cpu().numpy())
            return
        for task, shape in self._shapes(computed).items():
            span = slice(round_[0].start, min(round_[-1].stop, len(self._source.rows)))
            total = torch.zeros(span.stop - span.start, *shape)
            if mine is not None:
                head = computed[task].cpu()
                total[mine.start - span.start :][: len(head)] = head
            self._parallel.all_reduce_sum(total)
            self._store(task, span, total.numpy())

    def _shapes(self, computed: Mapping[str, Tensor]) -> Mapping[str, tuple[int, ...]]:
        if computed:
            return {task: tuple(head.shape[1:]) for task, head in computed.items()}
        # A rank without a chunk in the last round still has the shapes of its earlier rounds; in
        # the very first round (fewer chunks than ranks) it asks the net.
        if self._maps:
            return {task: stored.shape[1:] for task, stored in self._maps.items()}
        probe = self._compute(self._source.rows[:1])
        return {task: tuple(head.shape[1:]) for task, head in probe.items()}

    def _store(self, task: str, span: slice, head: npt.NDArray[np.float32]) -> None:
        if task not in self._maps:
            self._maps[task] = np.lib.format.open_memmap(
                Path(self._folder.name) / f"{task}.npy",
                mode="w+",
                dtype=self._dtype,
                shape=(len(self._source.rows), *head.shape[1:]),
            )
        self._maps[task][span] = head


def widen(tensor: Tensor) -> Tensor:
    """Half-precision outputs as float32, where losses are computed; float64 stays."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """bf16 forward passes; losses, updates and weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision is Precision.BF16)
