"""Example predictions as one PNG: image, truth and prediction side by side, with a legend.

Needs numpy and pillow only, so that a worker may call it after an evaluation.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from had_core.errors import BadInput
from had_core.tasks import DenseTask, TaskKind
from orchestrator.tracking.colours import (
    INVALID,
    Floats,
    Pixels,
    cividis,
    class_colours,
    normals,
    viridis,
)

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

GAP, LINE, _TEXT = 4, 18, 12
PANEL = 192  # smaller images are enlarged by a whole factor until they are this wide
_PAPER, _INK = (255, 255, 255), (20, 20, 20)
TITLES = ("image", "truth", "prediction")
ROWS = "had.rows"  # of the PNG's texts: how many rows of pictures, and how high each is


def render_examples(task: DenseTask, images: Array, truths: Array, predictions: Array) -> bytes:
    """A PNG with one row an image: image | truth | prediction.

    Args:
        task: what is shown; decides colours and which pixels have a truth.
        images: float ``[B,H,W,3]`` in 0..1.
        truths: as ``Split.targets`` gives them: LABELS int ``[B,H,W]``, else float ``[B,H,W,C]``.
        predictions: decoded, of the same shape: class indices, values, unit vectors,
            probabilities.

    Raises:
        BadInput: shapes do not fit.
    """
    _check(task, images, truths, predictions)
    span = span_of(task, truths)
    columns = (
        (np.clip(images, 0, 1) * 255).round().astype(np.uint8),
        coloured(task, truths, span, valid=has_truth(task, truths)),
        coloured(task, predictions, span),
    )
    canvas = _grid([_enlarge(column) for column in columns])
    shown = np.union1d(truths, predictions) if task.kind is TaskKind.LABELS else np.empty(0)
    legend = _Legend(task, span, shown, canvas.width).draw()
    height = columns[0].shape[1] * enlargement(columns[0].shape[2])
    return png(_stack(canvas, legend), {ROWS: f"{len(images)} {height}"})


def render_prediction(task: DenseTask, image: Array, prediction: Array) -> bytes:
    """A PNG of one image beside its prediction, for images that have no truth.

    Args:
        image: float ``[H,W,3]`` in 0..1.
        prediction: decoded: ``[H,W]``, for UNIT_VECTOR ``[H,W,3]``. The colours of a SCALAR cover
            the bulk of its values.
    """
    values = prediction[None]
    if task.kind is not TaskKind.LABELS:
        task = replace(task, invalid=None)
        values = values.reshape(1, *image.shape[:2], task.channels)
    span = span_of(task, values)
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)[None]
    columns = [_enlarge(column) for column in (pixels, coloured(task, values, span))]
    canvas = _grid(columns, ("image", "prediction"))
    shown = np.unique(values) if task.kind is TaskKind.LABELS else np.empty(0)
    legend = _Legend(task, span, shown, canvas.width, unlabelled=False).draw()
    return png(_stack(canvas, legend))


def _check(task: DenseTask, images: Array, truths: Array, predictions: Array) -> None:
    channels = () if task.kind is TaskKind.LABELS else (task.channels,)
    size = images.shape[:3]
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise BadInput(f"images of shape {images.shape} are not allowed: [B,H,W,3]")
    for name, array in (("truth", truths), ("prediction", predictions)):
        if array.shape != (*size, *channels):
            raise BadInput(
                f"{name} of task '{task.name}' has the shape {array.shape}, "
                f"allowed is {(*size, *channels)}"
            )


def has_truth(task: DenseTask, truths: Array) -> Mask:
    """Pixels ``[B,H,W]`` that have a truth."""
    if task.kind is TaskKind.LABELS:
        valid: Array = (truths >= 0) & (truths < task.channels)
        values = truths
    else:
        valid = np.asarray(np.isfinite(truths).all(axis=-1))
        values = truths[..., 0]
    if task.kind is TaskKind.UNIT_VECTOR:
        valid &= (truths != 0).any(axis=-1)
    elif task.invalid is not None:
        valid &= values != values.dtype.type(task.invalid)
    return np.asarray(valid, dtype=np.bool_)


def span_of(task: DenseTask, truths: Array) -> tuple[float, float]:
    """Range of values that the colours cover: the bulk of the truth, 0..1 for probabilities."""
    if task.kind is not TaskKind.SCALAR:
        return 0.0, 1.0
    values = truths[..., 0][has_truth(task, truths)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def coloured(
    task: DenseTask,
    values: Array,
    span: tuple[float, float],
    valid: Mask | None = None,
) -> Pixels:
    """Colours ``[B,H,W,3]``; black where ``valid`` says that there is no truth."""
    if task.kind is TaskKind.LABELS:
        inside = np.clip(values, 0, task.channels - 1).astype(np.int64)
        pixels = class_colours(task.channels)[inside]
    elif task.kind is TaskKind.UNIT_VECTOR:
        pixels = normals(values)
    else:
        pixels = _scalar_map(task)((values[..., 0] - span[0]) / (span[1] - span[0]))
    if valid is not None:
        pixels = np.where(valid[..., None], pixels, np.array(INVALID, np.uint8))
    return pixels


def _scalar_map(task: DenseTask) -> Any:
    return viridis if "depth" in task.name else cividis


def enlargement(width: int) -> int:
    """The whole factor by which images of this width are shown larger."""
    return max(1, -(-PANEL // width))


def _enlarge(pixels: Pixels) -> Pixels:
    factor = enlargement(pixels.shape[2])
    return pixels.repeat(factor, axis=1).repeat(factor, axis=2)


def _grid(columns: list[Pixels], titles: Sequence[str] = TITLES) -> Image.Image:
    """Columns of equal ``[B,H,W,3]`` under their titles."""
    from PIL import Image

    count, height, width, _ = columns[0].shape
    size = (len(columns) * (width + GAP) - GAP, LINE + count * (height + GAP))
    canvas = Image.new("RGB", size, _PAPER)
    draw = _draw(canvas)
    for column, (title, pixels) in enumerate(zip(titles, columns, strict=True)):
        left = column * (width + GAP)
        draw.text((left + 2, 1), title, _INK, _font())
        for row in range(count):
            tile = Image.fromarray(np.ascontiguousarray(pixels[row]))
            canvas.paste(tile, (left, LINE + row * (height + GAP)))
    return canvas


class _Legend:
    """What the colours mean, under the grid: a bar with its range, or the classes that occur."""

    def __init__(
        self,
        task: DenseTask,
        span: tuple[float, float],
        shown: Floats,
        width: int,
        *,
        unlabelled: bool = True,
    ) -> None:
        self._task = task
        self._span = span
        self._classes = [int(c) for c in shown if 0 <= c < task.channels]
        self._width = width
        self._unlabelled = unlabelled

    def draw(self) -> Image.Image:
        if self._task.kind is TaskKind.LABELS:
            return self._draw_classes()
        if self._task.kind is TaskKind.UNIT_VECTOR:
            return self._draw_text(f"{self._task.name}: x red, y green, z blue{self._black}")
        return self._draw_bar()

    @property
    def _black(self) -> str:
        return ";  black: no label" if self._unlabelled else ""

    def _strip(self, lines: int) -> Image.Image:
        from PIL import Image

        return Image.new("RGB", (self._width, lines * LINE), _PAPER)

    def _draw_text(self, text: str) -> Image.Image:
        strip = self._strip(1)
        _draw(strip).text((2, 1), text, _INK, _font())
        return strip

    def _draw_bar(self) -> Image.Image:
        from PIL import Image

        unit = f" {self._task.unit}" if self._task.unit else ""
        what = "probability" if self._task.kind is TaskKind.BINARY else self._task.name
        low, high = (f"{value:.3g}{unit}" for value in self._span)
        strip = self._strip(1)
        draw = _draw(strip)
        left = 2 + self._put(draw, 2, f"{what}  {low} ")
        colours = _scalar_map(self._task)(np.linspace(0, 1, 128))[None].repeat(_TEXT, axis=0)
        strip.paste(Image.fromarray(colours), (left, 2))
        self._put(draw, left + 134, f"{high}{self._black}")
        return strip

    def _draw_classes(self) -> Image.Image:
        names = self._task.class_names or tuple(map(str, range(self._task.channels)))
        colours = class_colours(self._task.channels)
        items = [(names[c], tuple(int(v) for v in colours[c])) for c in self._classes]
        if self._unlabelled:
            items.append(("no label", INVALID))
        places, left, line = [], 2, 0
        for name, _ in items:
            width = _TEXT + 6 + int(_font().getlength(name)) + 10
            if left + width > self._width and left > 2:
                left, line = 2, line + 1
            places.append((left, line * LINE))
            left += width
        strip = self._strip(line + 1)
        draw = _draw(strip)
        for (x, y), (name, colour) in zip(places, items, strict=True):
            draw.rectangle((x, y + 2, x + _TEXT, y + 2 + _TEXT), fill=colour)
            draw.text((x + _TEXT + 4, y + 1), name, _INK, _font())
        return strip

    @staticmethod
    def _put(draw: ImageDraw.ImageDraw, left: int, text: str) -> int:
        """Write ``text``; its width in pixels."""
        draw.text((left, 1), text, _INK, _font())
        return int(_font().getlength(text)) + 2


def _stack(top: Image.Image, bottom: Image.Image) -> Image.Image:
    from PIL import Image

    both = Image.new("RGB", (top.width, top.height + bottom.height), _PAPER)
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height))
    return both


def _draw(image: Image.Image) -> ImageDraw.ImageDraw:
    from PIL import ImageDraw

    return ImageDraw.Draw(image)


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_TEXT)


def png(image: Image.Image, says: Mapping[str, str] | None = None) -> bytes:
    """A PNG; runs alone are as small as zlib's level 4 for such pictures, in half of its time."""
    from PIL.PngImagePlugin import PngInfo

    info, buffer = PngInfo(), io.BytesIO()
    for key, value in (says or {}).items():
        info.add_text(key, value)
    image.save(buffer, "PNG", compress_type=zlib.Z_RLE, pnginfo=info)
    return buffer.getvalue()
