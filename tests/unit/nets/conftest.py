"""Tasks and nets that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from had_core.configs import Encoder, NetConfig, Norm
from had_core.nets.lifelong import LifelongNet
from had_core.tasks import DenseTask, TaskKind


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tasks() -> tuple[DenseTask, ...]:
    return (
        DenseTask("semantic", TaskKind.LABELS, 13, -1),
        DenseTask("depth", TaskKind.SCALAR, 1, 0),
        DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
    )


@pytest.fixture
def make_net(tasks: tuple[DenseTask, ...]) -> Callable[..., LifelongNet]:
    """``make_net(norm, heads=2, seed=0, **NetConfig fields)``: a tiny net in float32."""

    def make(norm: Norm = Norm.GROUP, heads: int = 2, seed: int = 0, **more: Any) -> LifelongNet:
        config = NetConfig(**{"encoder": Encoder.TINY, "norm": norm, **more})
        net = LifelongNet(config, seed)
        for index, task in enumerate(tasks[:heads]):
            net.grow(task, seed + 1 + index)
        return net

    return make


@pytest.fixture
def parity_file() -> Path:
    """What the released code returns on fixed inputs; not part of the repository."""
    path = Path(__file__).resolve().parents[3].parent / "shared/parity/released_code.npz"
    if not path.exists():
        pytest.skip("../shared/parity is absent")
    return path
