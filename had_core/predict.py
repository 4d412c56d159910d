"""From head outputs to predictions in the task's own units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from had_core.tasks import DenseTask, TaskKind


def decode(task: DenseTask, output_BCHW: Tensor) -> npt.NDArray[np.generic]:
    """``[B,H,W]`` int64 class indices for LABELS, else ``[B,H,W,C]`` float32.

    Unit vectors are normalised; binary logits become probabilities.
    """
    if task.kind is TaskKind.LABELS:
        return output_BCHW.argmax(1).cpu().numpy()
    if task.kind is TaskKind.UNIT_VECTOR:
        output_BCHW = torch.nn.functional.normalize(output_BCHW, dim=1)
    elif task.kind is TaskKind.BINARY:
        output_BCHW = output_BCHW.sigmoid()
    return output_BCHW.permute(0, 2, 3, 1).cpu().numpy()
