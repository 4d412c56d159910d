"""Pictures show what they should, in colours that can be told apart."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import colormaps
from PIL import Image

from had_core.errors import BadInput
from had_core.tasks import DenseTask, TaskKind
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store
from orchestrator.tracking.colours import cividis, class_colours, normals, viridis
from orchestrator.tracking.pictures import render_examples
from orchestrator.tracking.store_sources import StorePictures

B, H, W = 2, 24, 200  # wide enough not to be enlarged
GAP, LINE = 4, 18
RNG = np.random.default_rng(0)
IMAGES = RNG.random((B, H, W, 3), dtype=np.float32)
SEMANTIC = DenseTask("semantic", TaskKind.LABELS, 10, invalid=-1)
DEPTH = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0, unit="m")
NORMAL = DenseTask("normal", TaskKind.UNIT_VECTOR, 3)
EDGE = DenseTask("edge_occlusion", TaskKind.BINARY, 1, invalid=255)


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def _tile(picture: npt.NDArray[np.uint8], row: int, column: int) -> npt.NDArray[np.uint8]:
    top, left = LINE + row * (H + GAP), column * (W + GAP)
    return picture[top : top + H, left : left + W]


def _unit(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    raw = RNG.normal(size=(*shape, 3)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=-1, keepdims=True)


def test_labels() -> None:
    truths = RNG.integers(0, 10, (B, H, W))
    truths[:, :5] = -1
    predictions = RNG.integers(0, 10, (B, H, W))
    picture = _decode(render_examples(SEMANTIC, IMAGES, truths, predictions))
    colours = class_colours(10)
    for row in range(B):
        image = (IMAGES[row] * 255).round().astype(np.uint8)
        assert np.array_equal(_tile(picture, row, 0), image)
        assert np.array_equal(_tile(picture, row, 1)[5:], colours[truths[row, 5:]])
        assert not _tile(picture, row, 1)[:5].any()
        assert np.array_equal(_tile(picture, row, 2), colours[predictions[row]])


def test_depth_has_one_scale_for_truth_and_prediction() -> None:
    truths = RNG.uniform(1, 9, (B, H, W, 1)).astype(np.float32)
    truths[0, 0, 0] = 1000.0  # a single wild pixel does not take the whole scale
    truths[:, -3:] = 0
    picture = _decode(render_examples(DEPTH, IMAGES, truths, truths))
    shown, predicted = _tile(picture, 0, 1), _tile(picture, 0, 2)
    assert np.array_equal(shown[:-3], predicted[:-3])
    assert not shown[-3:].any()
    low, high = np.percentile(truths[truths > 0], (1, 99))
    assert np.array_equal(shown[:-3], viridis((truths[0, :-3, :, 0] - low) / (high - low)))


def test_normals() -> None:
    truths, predictions = _unit((B, H, W)), _unit((B, H, W))
    truths[:, :, :4] = 0
    picture = _decode(render_examples(NORMAL, IMAGES, truths, predictions))
    assert not _tile(picture, 1, 1)[:, :4].any()
    wanted = ((predictions[1] + 1) / 2 * 255).round()
    assert np.abs(_tile(picture, 1, 2) - wanted).max() <= 1
    assert tuple(normals(np.array([0.0, 0.0, 1.0]))) == (128, 128, 255)


def test_probabilities() -> None:
    truths = RNG.integers(0, 2, (B, H, W, 1)).astype(np.float32)
    truths[:, 0] = 255
    predictions = RNG.random((B, H, W, 1), dtype=np.float32)
    picture = _decode(render_examples(EDGE, IMAGES, truths, predictions))
    assert not _tile(picture, 0, 1)[0].any()
    assert np.array_equal(_tile(picture, 0, 2), cividis(predictions[0, ..., 0]))


@pytest.mark.parametrize(
    ("task", "truth"),
    [
        (SEMANTIC, np.full((B, H, W), -1)),
        (DEPTH, np.zeros((B, H, W, 1), np.float32)),
        (DEPTH, np.full((B, H, W, 1), 3.0, np.float32)),
        (NORMAL, np.zeros((B, H, W, 3), np.float32)),
        (EDGE, np.full((B, H, W, 1), 255, np.float32)),
    ],
)
def test_nothing_labelled_or_constant(task: DenseTask, truth: npt.NDArray[Any]) -> None:
    prediction = np.where(np.isin(truth, (-1, 255)), 0, truth).astype(truth.dtype)
    with np.errstate(all="raise"):
        assert _decode(render_examples(task, IMAGES, truth, prediction)).shape[1] == 3 * W + 2 * GAP


def test_small_images_are_enlarged() -> None:
    small = np.zeros((1, 8, 16), np.int64)
    picture = _decode(render_examples(SEMANTIC, np.zeros((1, 8, 16, 3)), small, small))
    assert picture.shape[1] == 3 * 192 + 2 * GAP


def test_wrong_shapes_are_named() -> None:
    labels = np.zeros((B, H, W), np.int64)
    with pytest.raises(BadInput, match="prediction of task 'semantic'"):
        render_examples(SEMANTIC, IMAGES, labels, labels[..., None])
    with pytest.raises(BadInput, match="truth of task 'normal'"):
        render_examples(NORMAL, IMAGES, np.zeros((B, 3, H, W)), np.zeros((B, H, W, 3)))
    with pytest.raises(BadInput, match="images"):
        render_examples(SEMANTIC, IMAGES[0], labels, labels)


@pytest.mark.parametrize(
    ("ours", "name", "off"), [(viridis, "viridis", 6), (cividis, "cividis", 12)]
)
def test_colour_maps_are_the_well_known_ones(ours: Any, name: str, off: int) -> None:
    values = np.linspace(0, 1, 256)
    theirs = colormaps[name](values)[:, :3] * 255
    assert np.abs(ours(values) - theirs).max() <= off
    assert np.array_equal(ours(np.array([-5.0, np.nan, 7.0])), ours(np.array([0.0, 0.0, 1.0])))


def test_classes_have_colours_of_their_own() -> None:
    colours = class_colours(24).astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(24, dtype=int)
    assert apart.min() > 30
    assert colours.sum(-1).min() > 60, "black is kept for pixels without a label"


def test_pictures_come_out_of_sealed_evaluations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(tmp_path)
    store.seal(ArtifactKind.EVAL, "a" * 64, {"depth.png": b"png"}, {})
    pictures = StorePictures(tmp_path)
    assert pictures("a" * 64, "depth.png") == b"png"
    assert pictures("b" * 64, "depth.png") is None
    assert caplog.text == ""
    assert pictures("a" * 64, "normal.png") is None
    assert "normal.png" in caplog.text


def test_rendering_needs_no_mlflow_and_no_torch() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import orchestrator.tracking.pictures\n"
        "print([m for m in ('mlflow', 'torch', 'matplotlib') if m in sys.modules])\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code, root], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
