"""Drawings as files; the writer's side of ``drawings``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence

from orchestrator.tracking import svg
from orchestrator.tracking.drawings import Drawing, HeatMap, Predictions, Spread
from orchestrator.tracking.events import PictureRef
from orchestrator.tracking.picture_parts import blank, split_examples

_log = logging.getLogger(__name__)
_FOLDER = "predictions"
_Picture = Callable[[str, str], bytes | None]
_Rows = list[dict[str, bytes]]


def files(drawing: Drawing, pictures: _Picture) -> dict[str, bytes]:
    """Artifact path -> bytes; empty where there is nothing to draw.

    Args:
        pictures: (evaluation key, file) -> PNG, None where the store has it no more.
    """
    match drawing:
        case HeatMap():
            return {drawing.path: svg.heat_map(drawing).encode()}
        case Spread():
            return {drawing.path: svg.spread(drawing).encode()}
        case Predictions():
            return _predictions(drawing, pictures)


def _predictions(drawing: Predictions, pictures: _Picture) -> dict[str, bytes]:
    """The table that MLflow shows, and the pictures in its cells: one row a task and image."""
    found: dict[str, dict[str, _Rows]] = {}  # task -> stage -> rows; the latest stage first
    for stage, refs in reversed(drawing.stages):
        for ref in refs:
            columns = ("prediction",) if ref.task in found else ("image", "truth", "prediction")
            if rows := _rows(ref, columns, pictures):
                found.setdefault(ref.task, {})[stage] = rows
    stages = [stage for stage, _ in drawing.stages if any(stage in each for each in found.values())]
    tasks = sorted(found, key=lambda task: min(map(stages.index, found[task])))
    out: dict[str, bytes] = {}
    data: list[list[object]] = []
    for task in tasks:
        for number, row in enumerate(next(iter(found[task].values())), start=1):
            cells: list[object] = [task, _put(out, f"image-{number}", row["image"])]
            cells.append(_put(out, f"{task}-{number}-truth", row["truth"]))
            for place, stage in enumerate(stages, start=1):
                there = found[task].get(stage, [])[number - 1 : number]
                name = f"{task}-{number}-after-{place}"
                shown = [_put(out, name, each["prediction"]) for each in there]
                cells += shown or [_put(out, "none", blank())]
            data.append(cells)
    names = ["task", "image", "truth", *(f"after {stage}" for stage in stages)]
    if data:
        out[drawing.path] = json.dumps({"columns": names, "data": data}).encode()
    return out


def _rows(ref: PictureRef, columns: Sequence[str], pictures: _Picture) -> _Rows:
    """The rows of an example picture."""
    raw = pictures(ref.key, ref.file)
    try:
        return [] if raw is None else split_examples(raw, columns)
    except (OSError, ValueError) as error:
        _log.warning("picture %s of evaluation %s cannot be read: %s", ref.file, ref.key, error)
        return []


def _put(out: dict[str, bytes], name: str, png: bytes) -> Mapping[str, str]:
    """Give a picture its place; what stands in the table for it."""
    out[f"{_FOLDER}/{name}.png"] = png
    return _cell(f"{_FOLDER}/{name}.png")


def _cell(path: str) -> Mapping[str, str]:
    """As ``mlflow.log_table`` writes a picture into a table."""
    return {"type": "image", "filepath": path, "compressed_filepath": path}
