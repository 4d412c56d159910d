"""A trained net in one safetensors file that describes itself: what leaves a store.

::

    weights, NetConfig, tasks ── to_bytes ──> model.safetensors ── load ──> TrainedNet.predict

The file's metadata holds the net's shape and its tasks as JSON, so that it needs nothing beside it
but this package. Reading it runs no code of the file's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from had_core import tensors
from had_core.building import trained_net
from had_core.canonical import to_plain
from had_core.configs import NetConfig
from had_core.decode import decode as decode_json
from had_core.errors import BadInput, CorruptArtifact
from had_core.nets.lifelong import LifelongNet
from had_core.predict import decode
from had_core.tasks import DenseTask, TaskKind

FORMAT = 1

Images = npt.NDArray[np.float32]
Predictions = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TrainedNet:
    """A net that predicts every task it knows.

    Attributes:
        net: in eval mode, on the device that it computes on.
        about: what else its file says (the stage's key, the size of the training images).
    """

    net: LifelongNet
    about: Mapping[str, Any]

    @property
    def tasks(self) -> tuple[DenseTask, ...]:
        return self.net.tasks

    def predict(self, images: Images) -> Predictions:
        """The predictions of every task on ``images``, in the tasks' own units.

        Args:
            images: float32 ``[B,H,W,3]`` in 0..1, RGB, of any height and width. The net normalises
                them by ImageNet's mean and deviation itself, as in training.

        Returns:
            By task, of the images' own size: LABELS class indices ``[B,H,W]`` (uint8 up to 256
            classes, else uint16), SCALAR values and BINARY probabilities float32 ``[B,H,W]``,
            UNIT_VECTOR float32 ``[B,H,W,3]`` of length 1.

        Raises:
            BadInput: an array of another shape or type, or one with values outside 0..1.
        """
        check_images(images)
        device = self.net.mean.device
        own = np.require(images, requirements=["C", "W"])
        image_B3HW = torch.from_numpy(own).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            outputs = self.net(image_B3HW)
            return {task.name: plain_array(task, outputs[task.name]) for task in self.tasks}


def plain_array(task: DenseTask, output_BCHW: Tensor) -> npt.NDArray[Any]:
    """A head's output as ``TrainedNet.predict`` returns it."""
    array = decode(task, output_BCHW.float())
    if task.kind is TaskKind.LABELS:
        return array.astype(task.prediction_dtype)
    return array if task.kind is TaskKind.UNIT_VECTOR else array[..., 0]


def check_images(images: Images) -> None:
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[3] != 3:
        shape = list(np.shape(images))
        raise BadInput(f"images of shape {shape} are not allowed: [B,H,W,3]")
    if images.dtype != np.float32 or 0 in images.shape:
        raise BadInput(
            f"images of type {images.dtype} and shape {list(images.shape)} are not allowed: one "
            "pixel or more of float32"
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # NaN, too
        raise BadInput(f"images with values {low:g} to {high:g} are not allowed: 0..1")


def to_bytes(
    config: NetConfig,
    tasks: Sequence[DenseTask],
    state: Mapping[str, Tensor],
    about: Mapping[str, Any] | None = None,
) -> bytes:
    """The file's content; equal nets give equal bytes. ``about`` is JSON that comes back."""
    net = to_plain(config)
    net["weights"] = None  # a path of the machine that trained it
    meta = {"format": FORMAT, "net": net, "tasks": to_plain(tuple(tasks)), "about": about or {}}
    return tensors.to_bytes(state, meta)


def load(path: str | Path, device: str | torch.device = "cpu") -> TrainedNet:
    """The net in a file that ``to_bytes`` made.

    Raises:
        BadInput: a file that cannot be read, or that is no such file.
    """
    try:
        return from_bytes(Path(path).read_bytes(), device)
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read: {error.strerror}") from None
    except (BadInput, CorruptArtifact) as error:
        raise BadInput(f"'{path}' holds no trained net: {error}") from None


def from_bytes(raw: bytes, device: str | torch.device = "cpu") -> TrainedNet:
    """Raises CorruptArtifact or BadInput for bytes that ``to_bytes`` did not make."""
    state, meta = tensors.from_bytes(raw)
    if meta.get("format") != FORMAT:
        raise BadInput(f"format={meta.get('format')} is not allowed: {FORMAT}")
    try:
        config = decode_json(NetConfig, meta["net"], at="net")
        tasks = [DenseTask.from_json(task) for task in meta["tasks"]]
        net = trained_net(config, tasks, state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        lines = str(error).splitlines()  # names or shapes that are not the net's fill pages
        raise CorruptArtifact(lines[0] if lines else type(error).__name__) from None
    return TrainedNet(net.to(device), meta["about"])
