"""Random draws that are the same on every machine and numpy version.

Only the words of PCG64 and exactly rounded operations (+ - * / sqrt) are used: no sine, no power,
no distribution of ``numpy.random``, whose algorithms may change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Vec = tuple[float, float, float]


class Draw:
    """A stream of draws from one seed."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.PCG64(seed)

    def word(self, bits: int) -> int:
        """A whole number of ``bits`` random bits."""
        return int(self._words.random_raw()) >> (64 - bits)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * (self.word(53) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        rest = list(options)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in range(len(options))]

    def turn(self, limit: float = 1.0) -> tuple[float, float]:
        """Cosine and sine of a random angle: 2 atan(t), t uniform in -limit..limit."""
        t = self.uniform(-limit, limit)
        return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)

    def near(self, color: Vec, spread: float) -> Vec:
        """A colour close to ``color``: brighter or darker as a whole, each channel a little."""
        gain = 1 + self.uniform(-spread, spread)
        r, g, b = (
            min(1.0, max(0.02, c * gain * (1 + self.uniform(-spread, spread) / 2))) for c in color
        )
        return r, g, b


def unit(vector: Vec) -> Vec:
    """``vector`` at length 1."""
    x, y, z = vector
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length
