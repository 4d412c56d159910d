"""What the paper's released code returns on fixed inputs: reading the file and its network.

The file is not part of the repository; ``HAD_PARITY_FILE`` names another one.
"""

from __future__ import annotations

import json
import math
import os
import re
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from had_core.configs import Encoder, NetConfig, Norm
from had_core.nets.lifelong import LifelongNet
from had_core.tasks import DenseTask, TaskKind

_DEFAULT = Path(__file__).resolve().parents[3] / "shared/parity/released_code.npz"
PATH = Path(os.environ.get("HAD_PARITY_FILE", _DEFAULT))
# A file that was asked for by name is missed loudly.
IS_THERE = PATH.exists() or "HAD_PARITY_FILE" in os.environ

TASKS = {
    "semantic": DenseTask("semantic", TaskKind.LABELS, 13, invalid=-1),
    "depth": DenseTask("depth", TaskKind.SCALAR, 1, invalid=0, relative_error=True),
    "normal": DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
}


class ParityFile:
    """Cases by name; ``array`` and ``expected`` give tensors (labels as int64)."""

    def __init__(self, path: Path) -> None:
        self._arrays = np.load(path, allow_pickle=False)
        self.meta = json.loads(bytes(self._arrays["meta"]))

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        return self.meta["cases"]

    def array(self, case: str, name: str) -> Tensor:
        bank = self.cases[case]["params"].get("bank", {})
        raw = self._arrays[f"bank/{bank[name]}" if name in bank else f"{case}/in/{name}"]
        tensor = torch.from_numpy(raw)
        return tensor.long() if raw.dtype == np.int8 else tensor

    def expected(self, case: str, name: str = "loss") -> Tensor:
        return torch.from_numpy(np.asarray(self._arrays[f"{case}/out/{name}"]))

    def net(self, seed_offset: int = 0) -> LifelongNet:
        """The released network, with weights from the file's rule, under our names."""
        net = LifelongNet(NetConfig(Encoder.RESNET18, 8, Norm.BATCH, 256, (12, 24, 36)), 0)
        for task in TASKS.values():
            net.grow(task, 0)
        net.load_state_dict(self._weights(self.meta["seed"] + seed_offset))
        return net

    @cache  # noqa: B019 - one file a test session
    def _weights(self, seed: int) -> dict[str, Tensor]:
        layout = self.meta["model"]["state_dict"]
        return {
            ours(name): _weight(name, shape, k + 1000 * seed)
            for k, (name, shape, _) in enumerate(layout)
        }

    def image(self, case: str) -> Tensor:
        """The input of a network case; un-normalised, since the released code does not."""
        sizes = re.search(r"image\((\d+),3,(\d+),(\d+)\)", self.cases[case]["params"]["input"])
        assert sizes is not None
        b, h, w = (int(size) for size in sizes.groups())
        seed = self.meta["seed"]
        blocks = _uniform(900000 + seed, b * 3 * (h // 8) * (w // 8))
        blocks = blocks.reshape(b, 3, h // 8, w // 8).repeat(8, 2).repeat(8, 3)
        noise = _uniform(910000 + seed, b * 3 * h * w).reshape(b, 3, h, w)
        return torch.from_numpy(0.5 + 0.4 * blocks + 0.1 * noise).float()

    @cached_property
    def parameter_names(self) -> list[str]:
        """Our names in the order of the released code's ``named_parameters``."""
        return [ours(name) for name in self.meta["model"]["named_parameters"]]


def ours(name: str) -> str:
    """Two prefixes differ."""
    return name.replace("backbone.", "encoder.").replace("decoder_", "heads.")


def _weight(name: str, shape: list[int], k: int) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    u = _uniform(k, math.prod(shape)).reshape(shape)
    if len(shape) == 4:
        u = np.sqrt(3) * np.sqrt(2 / math.prod(shape[1:])) * u
    elif name.endswith("running_var"):
        u = 1 + 0.2 * u * u
    else:
        u = 1 + 0.1 * u if name.endswith("weight") else 0.05 * u
    return torch.from_numpy(u).float()


def _uniform(k: int, n: int) -> np.ndarray:
    """The file's pseudo-random numbers in [-1, 1)."""
    wrap = 2**32
    h = np.arange(n, dtype=np.uint64) * np.uint64(2654435761)
    h = (h + np.uint64((k + 1) * 2246822519 % wrap)) % np.uint64(wrap)
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) % np.uint64(wrap)
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / wrap * 2 - 1
