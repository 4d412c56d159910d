"""A picture of example predictions taken apart again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.tracking.pictures import GAP, LINE, ROWS, TITLES, enlargement, png

if TYPE_CHECKING:
    from PIL import Image

_THUMB = 144  # pixels: what MLflow's tables have room for


@dataclass(frozen=True)
class Tiles:
    """One row of a picture that ``render_examples`` made, and the legend below all rows."""

    image: Image.Image
    truth: Image.Image
    prediction: Image.Image
    legend: Image.Image


@dataclass(frozen=True)
class _Sheet:
    """A picture and where its tiles are: so many rows, each tile so wide and so high."""

    canvas: Image.Image
    rows: int
    wide: int
    high: int

    @property
    def bottom(self) -> int:
        """Where the legend begins."""
        return LINE + self.rows * (self.high + GAP)

    def tile(self, title: str, row: int) -> Image.Image:
        left = TITLES.index(title) * (self.wide + GAP)
        top = LINE + row * (self.high + GAP)
        return self.canvas.crop((left, top, left + self.wide, top + self.high))


def take_apart(raw: bytes, height: int, width: int, row: int = 0) -> Tiles:
    """The parts of a picture of images of this size, in that size.

    Raises:
        BadInput: no such picture, or it has fewer rows.
    """
    from PIL import Image

    try:
        canvas, said = _opened(raw)
    except OSError as error:
        raise BadInput(f"an example picture cannot be read: {error}") from error
    factor = enlargement(width)
    wide, high = width * factor, height * factor
    rows = said[0] if said else (canvas.height - 2 * LINE) // (high + GAP)  # of older ones
    sheet = _Sheet(canvas, rows, wide, high)
    if canvas.width != 3 * wide + 2 * GAP or sheet.bottom >= canvas.height or not 0 <= row < rows:
        raise BadInput(f"an example picture of {canvas.size} does not show {width}x{height} images")
    tiles = (sheet.tile(title, row) for title in TITLES)
    image, truth, prediction = (
        tile.resize((width, height), Image.Resampling.NEAREST) for tile in tiles
    )
    legend = canvas.crop((0, sheet.bottom, canvas.width, canvas.height))
    return Tiles(image, truth, prediction, legend)


def split_examples(raw: bytes, columns: Sequence[str] = TITLES) -> list[dict[str, bytes]]:
    """The rows of a picture of ``render_examples``: each column's name and a small PNG.

    Empty for a picture that does not say where its rows are (of an older version).

    Raises:
        OSError, ValueError: it is no PNG, or damaged.
    """
    canvas, said = _opened(raw)
    if len(said) != 2:
        return []
    rows, high = said
    sheet = _Sheet(canvas, rows, (canvas.width - 2 * GAP) // 3, high)
    factor = -(-high // _THUMB)
    return [
        {title: png(sheet.tile(title, row).reduce(factor)) for title in columns}
        for row in range(rows)
    ]


def blank() -> bytes:
    """Stands where there is no picture."""
    from PIL import Image

    return png(Image.new("RGB", (_THUMB, _THUMB * 3 // 4), (238, 238, 238)))


def _opened(raw: bytes) -> tuple[Image.Image, list[int]]:
    """The pixels, and what the picture says of its rows: how many, and how high each is."""
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as picture:
        said = str(picture.info.get(ROWS, "")).split()
        return picture.convert("RGB"), [int(word) for word in said]
