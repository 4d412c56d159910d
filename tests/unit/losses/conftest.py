from __future__ import annotations

import pytest
import torch

from had_core.tasks import DenseTask, TaskKind

LABELS = DenseTask("semantic", TaskKind.LABELS, 5, invalid=-1)
SCALAR = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0)
UNIT_VECTOR = DenseTask("normal", TaskKind.UNIT_VECTOR, 3)
BINARY = DenseTask("edge", TaskKind.BINARY, 1, invalid=255)


@pytest.fixture(params=[LABELS, SCALAR, UNIT_VECTOR, BINARY], ids=lambda task: task.kind.value)
def task(request) -> DenseTask:
    """One task of every kind."""
    return request.param


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
