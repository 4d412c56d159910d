"""What goes into an example picture comes out again, pixel for pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from had_core.errors import BadInput
from had_core.tasks import DenseTask, TaskKind
from orchestrator.tracking.picture_parts import take_apart
from orchestrator.tracking.pictures import render_examples

TASK = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0.0)


def picture(height: int, width: int, count: int = 3) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    values = pixels[..., :1].astype(np.float32) + 1
    return render_examples(TASK, pixels / 255, values, values[::-1].copy()), pixels


@pytest.mark.parametrize("size", [(24, 32), (200, 300), (7, 193), (48, 64)])
@pytest.mark.parametrize("row", [0, 2])
def test_the_image_comes_back(size, row):
    raw, pixels = picture(*size)
    tiles = take_apart(raw, *size, row)
    assert np.array_equal(np.asarray(tiles.image), pixels[row])
    assert tiles.truth.size == tiles.prediction.size == (size[1], size[0])
    other = take_apart(raw, *size, 2 - row)
    assert np.array_equal(np.asarray(other.prediction), np.asarray(tiles.truth))
    assert 0 < tiles.legend.height < 40


def test_also_from_pictures_that_do_not_say_where_their_rows_are():
    raw, pixels = picture(24, 32)
    target = io.BytesIO()
    plain = Image.open(io.BytesIO(raw)).convert("RGB")
    plain.info.clear()
    plain.save(target, "PNG")
    assert np.array_equal(np.asarray(take_apart(target.getvalue(), 24, 32).image), pixels[0])


def test_what_it_is_not_is_refused():
    raw, _ = picture(24, 32)
    for bad, *size in ((b"no picture", 24, 32), (raw[:200], 24, 32), (raw, 24, 31)):
        with pytest.raises(BadInput, match="an example picture"):
            take_apart(bad, *size)
    with pytest.raises(BadInput, match="an example picture"):
        take_apart(raw, 24, 32, row=3)
