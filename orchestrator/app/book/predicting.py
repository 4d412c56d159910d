"""``had predict``: every head of a stage's net on a folder of images.

::

    OUT/predictions.json         the stage, its tasks, one entry an image
    OUT/<task>/<image>.npy       the prediction in the task's unit, of the image's own size
    OUT/<task>/<image>.png       image and prediction side by side, with a legend

Images go through the net one after the other, so memory does not grow with their number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from had_core.canonical import to_plain
from had_core.data.images import image_files, read_image
from had_core.errors import BadInput
from orchestrator.app.book.placing import new_folder, written_whole
from orchestrator.app.book.trained import TrainedStage, trained_stage
from orchestrator.app.opening import open_existing
from orchestrator.display.use import PredictedImage, PredictedTask, PredictResult
from orchestrator.tracking.pictures import render_prediction

if TYPE_CHECKING:
    from had_core.portable import TrainedNet

INDEX = "predictions.json"
_FAR = 2  # as many times the height and width of the training images are told about

Note = Callable[[str], None]


def predict(
    name: str, images: str, out: str, root: str, *, device: str = "cpu", note: Note
) -> PredictResult:
    """Predict every task on every image; every file is looked at before the first is written.

    Args:
        name: the stage, by the first digits of its key or its MLflow run id.
        images: a folder, or one image.
        out: a new or empty folder.
        note: told what a person should know.

    Raises:
        BadInput: a stage that cannot be used, an image that cannot be read (it is named), or a
            place that holds other files.
    """
    started = time.perf_counter()
    stage = trained_stage(open_existing(root), name)
    if not images:
        raise BadInput("IMAGES is empty: a folder of images, or one image")
    target = new_folder(out)
    files, ignored = image_files(images)
    _check_names(files)
    sizes = [read_image(path).shape for path in files]
    _warn(stage, sizes, note)
    net = stage.load(_checked_device(device))
    found = tuple(PredictedImage(p.name, s[0], s[1]) for p, s in zip(files, sizes, strict=True))
    tasks = tuple(map(PredictedTask.of, stage.tasks))
    with written_whole(target) as folder:
        for task in stage.tasks:
            (folder / task.name).mkdir()
        for path in files:
            _one(net, path, folder)
        index = {"stage": stage.key, "tasks": to_plain(tasks), "images": to_plain(found)}
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return PredictResult(
        key=stage.key,
        store=root,
        out=str(target),
        images=len(files),
        ignored=tuple(ignored),
        tasks=tasks,
        seconds=time.perf_counter() - started,
    )


def _one(net: TrainedNet, path: Path, folder: Path) -> None:
    image = read_image(path)
    try:
        predictions = net.predict(image[None])
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        height, width = image.shape[:2]
        raise BadInput(
            f"image '{path}' of {height}x{width} pixels does not fit the memory: scale it down"
        ) from None
    for task in net.tasks:
        array = predictions[task.name][0]
        np.save(folder / task.name / f"{path.stem}.npy", array, allow_pickle=False)
        picture = render_prediction(task, image, array)
        (folder / task.name / f"{path.stem}.png").write_bytes(picture)


def _check_names(files: Sequence[Path]) -> None:
    """Every image needs a name of its own without its ending."""
    seen: dict[str, Path] = {}
    for path in files:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise BadInput(
                f"images '{other.name}' and '{path.name}' would be predicted into the same files: "
                "rename one of them"
            )


def _warn(stage: TrainedStage, sizes: Sequence[tuple[int, ...]], note: Note) -> None:
    """Nets learn the scale of what they see."""
    large = max(sizes, key=lambda size: size[0] * size[1])
    if large[0] > _FAR * stage.height and large[1] > _FAR * stage.width:
        note(
            f"images are up to {large[0]}x{large[1]}, the net was trained on "
            f"{stage.height}x{stage.width}: scaled down to about that they may be predicted better"
        )


def _checked_device(device: str) -> Any:
    import torch

    if device not in ("cpu", "cuda"):
        raise BadInput(f"--device {device} is not allowed: cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda is not allowed: torch finds no GPU here")
    return device
