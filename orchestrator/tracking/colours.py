"""Colours of example pictures: perceptually even and told apart by colour-blind readers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

INVALID = (0, 0, 0)

# Every 16th colour of matplotlib's viridis and cividis (CC0); between them linear, off by at most
# 6 and 12 of 255.
_VIRIDIS = (
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 "
    "84d44b addc30 d8e219 fde725"
)
_CIVIDIS = (
    "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c "
    "cdbb63 dec958 f0d846 fee838"
)
# Okabe and Ito (2008), without black, which marks pixels without a label, and with a grey.
_CLASSES = "e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 999999"


def _table(colours: str) -> Floats:
    raw = bytes.fromhex(colours.replace(" ", ""))
    return np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.float64)


def _ramp(values: Floats, colours: str) -> Pixels:
    """Colours ``[...,3]`` of values in 0..1; values outside are clipped."""
    table = _table(colours)
    at = np.clip(np.nan_to_num(values), 0, 1) * (len(table) - 1)
    places = np.arange(len(table))
    channels = [np.interp(at, places, table[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def viridis(values: Floats) -> Pixels:
    """``[...] -> [...,3]``; for depth."""
    return _ramp(values, _VIRIDIS)


def cividis(values: Floats) -> Pixels:
    """``[...] -> [...,3]``; for every other scalar and for probabilities."""
    return _ramp(values, _CIVIDIS)


def class_colours(count: int) -> Pixels:
    """``[count,3]``; 8 hues, then the same darker, then lighter, then the three again."""
    base = _table(_CLASSES)
    shades = np.concatenate([base, base * 0.5, 255 - (255 - base) * 0.45]).round().astype(np.uint8)
    return shades[np.arange(count) % len(shades)]


def normals(vectors: Floats) -> Pixels:
    """Unit vectors ``[...,3]`` as (n + 1) / 2: x red, y green, z blue."""
    return (np.clip((vectors + 1) / 2, 0, 1) * 255).round().astype(np.uint8)
