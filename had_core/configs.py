"""Frozen, validated settings of nets, training and data slices. Imports no torch.

Fields with ``metadata={'key': False}`` may change without changing a result (up to rounding), so
they stay out of a stage's key and go into its manifest instead.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from had_core.errors import BadInput


class Encoder(enum.Enum):
    TINY = "tiny"
    RESNET18 = "resnet18"
    RESNET50 = "resnet50"


class Norm(enum.Enum):
    """Normalisation of encoder and decoders.

    BATCH uses statistics of each worker's own batch; SYNC of the global batch; FROZEN uses stored
    statistics and trains nothing; GROUP is independent of the batch.
    """

    BATCH = "batch"
    FROZEN = "frozen"
    GROUP = "group"
    SYNC = "sync"


class Precision(enum.Enum):
    FLOAT32 = "float32"
    BF16 = "bf16"


class TeacherCache(enum.Enum):
    """Whether the teacher's outputs are computed once a stage, and how wide they are kept.

    FLOAT32 equals OFF up to rounding and is not part of the key; FLOAT16 is.
    """

    OFF = "off"
    FLOAT32 = "float32"
    FLOAT16 = "float16"


class Augment(enum.Enum):
    NONE = "none"
    FLIP = "flip"


class Optimizer(enum.Enum):
    ADAM = "adam"
    SGD = "sgd"


class Schedule(enum.Enum):
    CONSTANT = "constant"
    COSINE = "cosine"


def require(ok: bool, key: str, value: Any, allowed: str) -> None:
    """Raise BadInput naming the key, its value and what is allowed."""
    if not ok:
        shown = value.value if isinstance(value, enum.Enum) else value
        raise BadInput(f"{key}={shown} is not allowed: {allowed}")


@dataclass(frozen=True)
class NetConfig:
    """Shared encoder and one ASPP decoder a task (DeepLabV3; HAD paper, section 4).

    Attributes:
        encoder: ``tiny`` (for CPUs), ``resnet18`` or ``resnet50``.
        output_stride: input size over encoder output size, 8 or 16.
        norm: see Norm.
        decoder_channels: width of every ASPP branch.
        aspp_rates: dilation rates of the three 3x3 branches.
        weights: local file of encoder weights (safetensors, or a torch file of tensors only).
        weights_sha256: digest of that file; it stands for the file in keys.
    """

    encoder: Encoder = Encoder.TINY
    output_stride: int = 8
    norm: Norm = Norm.GROUP
    decoder_channels: int = 32
    aspp_rates: tuple[int, int, int] = (2, 4, 6)
    weights: str | None = field(default=None, metadata={"key": False})
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        require(self.output_stride in (8, 16), "net.output_stride", self.output_stride, "8 or 16")
        channels = self.decoder_channels
        require(1 <= channels <= 4096, "net.decoder_channels", channels, "1 to 4096")
        require(
            len(self.aspp_rates) == 3 and all(r >= 1 for r in self.aspp_rates),
            "net.aspp_rates",
            list(self.aspp_rates),
            "three rates of 1 or more",
        )


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained; a fresh optimiser every stage (HAD paper, section 4).

    Attributes:
        batch_size: global batch, split evenly over the workers.
        drop_last: leave out the last, smaller batch of an epoch.
        freeze_bn: keep normalisation statistics and affine parameters fixed after stage 1.
        eval_every: epochs between two evaluations inside a stage, on the validation part; 0 for
            none. It only looks: the weights are the same with and without it.
    """

    epochs: int = 20
    batch_size: int = 8
    drop_last: bool = True
    optimizer: Optimizer = Optimizer.ADAM
    lr: float = 1e-4
    weight_decay: float = 1e-5
    momentum: float = 0.9
    schedule: Schedule = Schedule.CONSTANT
    precision: Precision = Precision.FLOAT32
    freeze_bn: bool = False
    augment: Augment = Augment.NONE
    teacher_cache: TeacherCache = TeacherCache.FLOAT32
    eval_every: int = field(default=0, metadata={"key": False})

    def __post_init__(self) -> None:
        require(1 <= self.epochs <= 100_000, "train.epochs", self.epochs, "1 to 100000")
        require(self.batch_size >= 1, "train.batch_size", self.batch_size, "1 or more")
        require(self.lr > 0, "train.lr", self.lr, "a number above 0")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.momentum < 1, "train.momentum", self.momentum, "0 <= momentum < 1")
        require(self.eval_every >= 0, "train.eval_every", self.eval_every, "0 or more epochs")
        require(
            self.augment is Augment.NONE or self.teacher_cache is TeacherCache.OFF,
            "train.teacher_cache",
            self.teacher_cache,
            "off where train.augment changes the inputs between epochs",
        )


@dataclass(frozen=True)
class SlicingConfig:
    """Which training images a stage sees.

    A permutation seeded by ``split_seed`` first holds out ``val_fraction`` of the training images
    (no stage trains on them), then cuts the rest into ``slices`` disjoint slices of equal size;
    the stage at position k trains on slice k.
    """

    slices: int = 1
    val_fraction: float = 0.1
    split_seed: int = 0

    def __post_init__(self) -> None:
        require(self.slices >= 1, "data.slices", self.slices, "1 or more")
        require(
            0 <= self.val_fraction < 1, "data.val_fraction", self.val_fraction, "0 <= fraction < 1"
        )


@dataclass(frozen=True)
class View:
    """One task's labels on one slice: what a fit may look at. ``slice`` None means every slice."""

    task: str
    slice: int | None
