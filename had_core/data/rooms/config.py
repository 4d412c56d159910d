"""Settings and tasks of the embedded data set. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from had_core.configs import require
from had_core.tasks import DenseTask, TaskKind

MOST_IMAGES = 1_000_000  # of a split

CLASSES = (
    "wall",
    "floor",
    "ceiling",
    "door",
    "window",
    "picture",
    "bed",
    "sofa",
    "table",
    "chair",
    "cabinet",
    "lamp",
    "objects",
)

TASKS = (
    DenseTask("semantic", TaskKind.LABELS, len(CLASSES), invalid=-1.0, class_names=CLASSES),
    DenseTask("depth", TaskKind.SCALAR, 1, invalid=0.0, unit="m", relative_error=True),
    DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
    DenseTask("edge_occlusion", TaskKind.BINARY, 1),
    DenseTask("reshading", TaskKind.SCALAR, 1),
)


@dataclass(frozen=True)
class RoomsConfig:
    """Which rooms to render; image i of a split depends on ``seed``, the split and i alone.

    Attributes:
        seed: of every scene.
        train, test: images per split.
        height, width: of every image, in pixels.
    """

    seed: int = 0
    train: int = 800
    test: int = 200
    height: int = 96
    width: int = 128

    def __post_init__(self) -> None:
        for key in ("train", "test"):
            count = getattr(self, key)
            require(1 <= count <= MOST_IMAGES, f"rooms.{key}", count, f"1 to {MOST_IMAGES} images")
        for key in ("height", "width"):
            value = getattr(self, key)
            require(16 <= value <= 4096, f"rooms.{key}", value, "16 to 4096 pixels")
