"""Dense-prediction tasks: what a head predicts, which pixels count, how it is scored.

A task is data, not behaviour: losses, meters and importers dispatch on its ``kind``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from had_core.errors import BadInput


class TaskKind(enum.Enum):
    """The four output structures; a loss and a meter exist for each.

    ===========  ======================  ==================================  ==================
    kind         head output             target, as a batch holds it         invalid pixel
    ===========  ======================  ==================================  ==================
    LABELS       logits ``[B,C,H,W]``    class index, int64 ``[B,H,W]``      ``invalid`` value
    SCALAR       value ``[B,1,H,W]``     float32 ``[B,1,H,W]``               ``invalid`` or none
    UNIT_VECTOR  raw ``[B,3,H,W]``       float32 unit ``[B,3,H,W]``          all channels 0
    BINARY       logit ``[B,1,H,W]``     float32 0/1 ``[B,1,H,W]``           ``invalid`` value
    ===========  ======================  ==================================  ==================
    """

    LABELS = "labels"
    SCALAR = "scalar"
    UNIT_VECTOR = "unit_vector"
    BINARY = "binary"


class Direction(enum.Enum):
    UP = "up"
    DOWN = "down"

    @property
    def sign(self) -> int:
        """+1 where higher is better, -1 where lower is better."""
        return 1 if self is Direction.UP else -1


@dataclass(frozen=True)
class MetricSpec:
    """One number that an evaluation reports; ``in_delta`` says whether Delta_m counts it."""

    name: str
    direction: Direction
    unit: str = ""
    in_delta: bool = True


_UP, _DOWN = Direction.UP, Direction.DOWN
_METRICS: Mapping[TaskKind, tuple[MetricSpec, ...]] = {
    TaskKind.LABELS: (MetricSpec("miou", _UP), MetricSpec("pixel_acc", _UP)),
    TaskKind.SCALAR: (MetricSpec("abs_err", _DOWN),),
    TaskKind.UNIT_VECTOR: (
        MetricSpec("mean_deg", _DOWN, "deg"),
        MetricSpec("median_deg", _DOWN, "deg"),
        MetricSpec("within_11.25", _UP),
        MetricSpec("within_22.5", _UP),
        MetricSpec("within_30", _UP),
    ),
    TaskKind.BINARY: (MetricSpec("iou", _UP), MetricSpec("bce", _DOWN)),
}


@dataclass(frozen=True)
class DenseTask:
    """One dense-prediction task.

    Attributes:
        name: identifier used in orders, heads, metrics and file names.
        kind: output structure.
        channels: channels of the head's output (classes for LABELS, 3 for UNIT_VECTOR, else 1).
        invalid: target value that marks a pixel as unlabelled; None when every pixel counts.
            UNIT_VECTOR pixels are invalid where all channels are 0, whatever this says.
        unit: unit of a SCALAR's value ("m"), empty when it has none.
        relative_error: whether a SCALAR also reports the relative error (positive targets only).
        class_names: names of the classes of LABELS, for pictures and tables.
    """

    name: str
    kind: TaskKind
    channels: int
    invalid: float | None = None
    unit: str = ""
    relative_error: bool = False
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise BadInput(f"task name '{self.name}' is not allowed: letters, digits and _ only")
        expected = {TaskKind.UNIT_VECTOR: 3, TaskKind.SCALAR: 1, TaskKind.BINARY: 1}.get(self.kind)
        if expected is not None and self.channels != expected:
            raise BadInput(
                f"task '{self.name}' of kind {self.kind.value} has {self.channels} channels, "
                f"allowed is {expected}"
            )
        if self.kind is TaskKind.LABELS and self.channels < 2:
            raise BadInput(f"task '{self.name}' has {self.channels} classes, allowed is 2 or more")
        if self.class_names and len(self.class_names) != self.channels:
            raise BadInput(
                f"task '{self.name}' names {len(self.class_names)} classes, has {self.channels}"
            )

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """What an evaluation of this task reports, in order; the first is the headline."""
        metrics = _METRICS[self.kind]
        if self.kind is TaskKind.SCALAR:
            first = MetricSpec("abs_err", _DOWN, self.unit)
            metrics = (first, MetricSpec("rel_err", _DOWN)) if self.relative_error else (first,)
        return metrics

    @property
    def prediction_dtype(self) -> str:
        """Type that holds a prediction: for LABELS the smallest with all classes, else float32."""
        if self.kind is TaskKind.LABELS:
            return "uint8" if self.channels <= 256 else "uint16"
        return "float32"

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> DenseTask:
        return cls(
            **{
                **raw,
                "kind": TaskKind(raw["kind"]),
                "class_names": tuple(raw.get("class_names", ())),
            }
        )
