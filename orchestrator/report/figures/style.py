"""How figures look, and from a figure to deterministic SVG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 9.6  # inches of a figure; a page shows it about as wide
FONT = 10.0
BEST = "#D55E00"
PLAIN = "#0072B2"
# Okabe and Ito (2008) without yellow, which white swallows; black is the reference.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX*<>"
_LINES = ("--", "-", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_SETTINGS: Any = {
    "svg.hashsalt": "had",
    "svg.fonttype": "path",  # the same letters on every machine
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "xtick.labelsize": FONT - 1,
    "ytick.labelsize": FONT - 1,
    "legend.fontsize": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Drawing:
    """A figure of the page.

    Attributes:
        alt: what it says, for those who do not see it.
        caption: how to read it.
    """

    svg: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Look:
    """How one method is drawn everywhere."""

    colour: str
    marker: str
    line: Any


def look_of(number: int) -> Look:
    """0 is the reference; every part repeats later than the others, so that pairs differ."""
    return Look(
        _COLOURS[number % len(_COLOURS)],
        _MARKERS[number % len(_MARKERS)],
        _LINES[number % len(_LINES)],
    )


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure to draw into, of the project's style whatever the user's matplotlib has."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: Figure) -> bytes:
    """Equal figures give equal bytes; call it inside ``drawing``."""
    target = io.BytesIO()
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return target.getvalue()


def breakable(text: str) -> str:
    """A long name in lines that fit under a tick: ``edge_occlusion`` breaks at its underscore."""
    return text.replace("_", "_\n") if len(text) > 10 else text
