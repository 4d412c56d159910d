"""rooms: the embedded data set. Furnished rooms, ray-cast, with exact ground truth for five tasks.

::

    build ─> render(seed, split, i) ─> layout (furniture) ─> scene ─> raycast ─> targets
                                                                        └─> textures, shading

Everything follows from ``RoomsConfig`` by integer hashes and exactly rounded arithmetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from had_core.data.rooms.config import CLASSES, TASKS, RoomsConfig

if TYPE_CHECKING:
    from had_core.data.shards import ShardDataset

__all__ = ["CLASSES", "TASKS", "RoomsConfig", "build"]


def build(
    out_dir: str | Path, config: RoomsConfig | None = None, *, processes: int | None = None
) -> ShardDataset:
    """Render ``config`` into folder ``out_dir``; see ``had_core.data.rooms.rendering.build``."""
    from had_core.data.rooms.rendering import build as run

    return run(out_dir, config, processes=processes)
