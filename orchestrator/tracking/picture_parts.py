"""A picture of example predictions taken apart again, in the images' own size."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.tracking.pictures import GAP, LINE, PANEL, ROWS

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Tiles:
    """One row of a picture that ``render_examples`` made, and the legend below all rows."""

    image: Image.Image
    truth: Image.Image
    prediction: Image.Image
    legend: Image.Image


def take_apart(raw: bytes, height: int, width: int, row: int = 0) -> Tiles:
    """The parts of a picture of images of this size.

    Raises:
        BadInput: no such picture, or it has fewer rows.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(raw)) as picture:
            said = str(picture.info.get(ROWS, "")).split()
            canvas = picture.convert("RGB")
    except OSError as error:
        raise BadInput(f"an example picture cannot be read: {error}") from error
    factor = max(1, -(-PANEL // width))
    wide, high = width * factor, height * factor
    rows = int(said[0]) if said else (canvas.height - 2 * LINE) // (high + GAP)  # of older ones
    bottom = LINE + rows * (high + GAP)
    if canvas.width != 3 * wide + 2 * GAP or bottom >= canvas.height or not 0 <= row < rows:
        raise BadInput(f"an example picture of {canvas.size} does not show {width}x{height} images")
    top = LINE + row * (high + GAP)

    def tile(column: int) -> Image.Image:
        left = column * (wide + GAP)
        part = canvas.crop((left, top, left + wide, top + high))
        return part.resize((width, height), Image.Resampling.NEAREST)

    legend = canvas.crop((0, bottom, canvas.width, canvas.height))
    return Tiles(tile(0), tile(1), tile(2), legend)
