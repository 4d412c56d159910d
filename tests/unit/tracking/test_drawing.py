"""Drawings: what they show, and that they are drawn once, when a run has ended."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_mlflow import FakeMlflow, snapshot
from PIL import Image

from had_core.tasks import DenseTask, TaskKind
from orchestrator.tracking import drawing
from orchestrator.tracking.drawings import HeatMap, Predictions, Spread, heat_map
from orchestrator.tracking.events import Event, PictureRef, RunKind
from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter
from orchestrator.tracking.picture_parts import split_examples
from orchestrator.tracking.pictures import render_examples

DEPTH = DenseTask("depth", TaskKind.SCALAR, 1)


def _texts(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [node.text or "" for node in root.iter() if node.tag.endswith("text")]


def _example(level: float, size: tuple[int, int] = (48, 64)) -> bytes:
    """Two rows; predictions are flat."""
    truth = np.linspace(0, 1, 2 * size[0] * size[1], dtype=np.float32).reshape(2, *size, 1)
    images = np.zeros((2, *size, 3), np.float32)
    return render_examples(DEPTH, images, truth, np.full_like(truth, level))


def _pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_heat_map_shows_what_was_lost() -> None:
    rows = [
        ("1 depth", {"depth": {"abs_err": 0.2, "rel_err": 9.0}}),
        ("2 seg", {"depth": {"abs_err": 0.3, "rel_err": 9.0}, "seg": {"miou": 0.5}}),
        ("3 x", {"depth": {"abs_err": 0.1, "rel_err": None}, "seg": {"miou": 0.1}, "x": {"y": 1}}),
    ]
    drawn = heat_map(rows, {"depth": "scalar", "seg": "labels", "x": "of tomorrow"}, "a & b")
    assert drawn is not None
    assert drawn.columns == (("depth", "abs_err", -1), ("seg", "miou", 1))
    texts = _texts(drawing.files(drawn, lambda *_: None)["R.svg"])
    assert "a & b" in texts
    cells = [text for text in texts if text in ("0.2", "0.3", "0.1", "0.5") or text.endswith(" %")]
    assert cells == ["0.2", "0.3", "-50 %", "0.5", "0.1", "0.1", "-80 %"]
    assert heat_map(rows, {}, "no kinds") is None


@pytest.mark.parametrize(
    "values", [(1.0, 2.0), (-40.0, 3.5), (0.0, 0.0), (-1e-7,), (1234.5, 1200.0)]
)
def test_a_spread_has_all_dots_inside(values: tuple[float, ...]) -> None:
    drawn = Spread((("had <1>", values), ("naive", (0.0,))), "Δm, %", "spread")
    root = ElementTree.fromstring(drawing.files(drawn, lambda *_: None)["order_spread.svg"])
    dots = [node for node in root if node.tag.endswith("circle")]
    assert len(dots) == len(values) + 1
    width = float(root.attrib["width"])
    assert all(0 < float(dot.attrib["cx"]) < width for dot in dots)


@pytest.mark.parametrize("size", [(48, 64), (240, 320)])
def test_an_example_comes_apart(size: tuple[int, int]) -> None:
    rows = split_examples(_example(0.5, size))
    assert len(rows) == 2
    image, truth, prediction = map(_pixels, rows[1].values())
    assert image.shape == truth.shape == prediction.shape
    assert image.shape[0] in (144, 120)
    assert not image.any()
    assert len(np.unique(prediction.reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(truth.reshape(-1, 3), axis=0)) > 10


def test_the_table_of_predictions() -> None:
    pictures = {"e1": _example(0.1), "e2": _example(0.9)}

    def ref(key: str, task: str = "depth") -> PictureRef:
        return PictureRef(task=task, key=key, file=f"{task}.png")

    stages = (("1 depth", (ref("e1"),)), ("2 other", (ref("e2"), ref("e1", "other"))))
    files = drawing.files(Predictions(stages), lambda key, file: pictures[key])
    table = json.loads(files.pop("predictions.json"))
    assert table["columns"] == ["task", "image", "truth", "after 1 depth", "after 2 other"]
    assert [row[0] for row in table["data"]] == ["depth", "depth", "other", "other"]
    named = [cell["filepath"] for row in table["data"] for cell in row[1:]]
    assert set(named) == set(files)  # every cell has its picture, and no picture is without one
    assert table["data"][2][3]["filepath"] == "predictions/none.png"  # not learned yet
    before, after = (_pixels(files[cell["filepath"]]) for cell in table["data"][0][3:])
    assert (before[0, 0] != after[0, 0]).any()


@pytest.mark.parametrize("raw", [None, b"no picture", b"\x89PNG\r\n\x1a\n", "old"])
def test_pictures_that_cannot_be_used_make_no_table(raw: Any) -> None:
    if raw == "old":  # written before rows were said
        buffer = io.BytesIO()
        Image.open(io.BytesIO(_example(0.5))).convert("RGB").save(buffer, "PNG")
        raw = buffer.getvalue()
    stages = (("1 depth", (PictureRef(task="depth", key="e", file="depth.png"),)),)
    assert drawing.files(Predictions(stages), lambda *_: raw) == {}


def _drained(root: Path, events: list[Event]) -> dict[str, Any]:
    journal = Journal(root, events[0].run)
    journal.append(*events)
    journal.close()
    client = FakeMlflow()
    reader, location = JournalReader.open(root, events[0].run), TrackingLocation.of(root)
    png = _example(0.5)
    writer = MlflowWriter(reader, events[0].run, location, pictures=lambda *_: png, client=client)
    writer.drain()
    assert writer.drain().written == 0
    return snapshot(client)


def test_sequences_and_sweeps_have_their_drawings(tmp_path: Path, sweep: list[Event]) -> None:
    state = _drained(tmp_path, sweep)
    by_kind: dict[str, list[Any]] = {}
    for run in state["runs"].values():
        by_kind.setdefault(run["tags"]["had.kind"], []).append(run)
    finished = [run for run in by_kind["sequence"] if run["points"]]
    assert all({"R.svg", "predictions.json"} <= set(run["artifacts"]) for run in finished)
    tables = json.loads(finished[0]["tags"]["mlflow.loggedArtifacts"])
    assert [table["path"] for table in tables] == ["R.json", "predictions.json"]
    (root,) = by_kind["sweep"]
    texts = _texts(root["artifacts"]["order_spread.svg"])
    assert [text for text in texts if text.startswith("t0")] == ["t0000 lambda=0.5"]


def test_a_comparison_shows_the_spread_of_its_methods(
    tmp_path: Path, new_story: Callable[..., Any]
) -> None:
    story = new_story()
    story.run_started(kind=RunKind.COMPARE)
    for number, order in enumerate((("depth", "normal"), ("normal", "depth"))):
        for method in ("naive", "had"):
            name = story.sequence_started(method, order)
            gain = 10.0 + number if method == "had" else 0.0
            story.sequence_finished(name, delta_m_pct=gain)
    story.run_finished()
    state = _drained(tmp_path, story.events)
    (root,) = (r for r in state["runs"].values() if r["tags"]["had.kind"] == "compare")
    svg = root["artifacts"]["order_spread.svg"]
    assert svg.count(b"<circle") == 4
    assert [text for text in _texts(svg) if text in ("naive", "had")] == ["naive", "had"]


def test_a_map_is_a_value() -> None:
    """What decides whether it is drawn again."""
    one = HeatMap((("d", "m", 1),), (("1 d", (0.5,)),), "t")
    assert hash(one) == hash(HeatMap((("d", "m", 1),), (("1 d", (0.5,)),), "t"))
