"""Data sets as memory-mapped shards; one importer a source; which images a stage sees.

::

    rooms, nyuv2, ... -> writing -> folder (manifest.json + Arrow shards) -> shards -> stage
                                          check --^                         slices --^
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from had_core.data.manifest import DatasetManifest, SplitManifest
    from had_core.data.shards import ShardDataset, Split

__all__ = ["DatasetManifest", "ShardDataset", "Split", "SplitManifest"]


def __getattr__(name: str) -> Any:
    """Import on first use: the manifest needs the standard library only, shards need numpy."""
    if name in ("DatasetManifest", "SplitManifest"):
        from had_core.data import manifest

        return getattr(manifest, name)
    if name in ("ShardDataset", "Split"):
        from had_core.data import shards

        return getattr(shards, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
