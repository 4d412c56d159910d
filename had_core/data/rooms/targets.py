"""Ground truth from the hits: exact, never from the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.rooms.raycast import Hits, along
from had_core.data.rooms.scene import Camera, Table

Array = NDArray[Any]
Pixels = tuple[Array, Array]
OCCLUSION_GAP = 0.05  # metres; thinner steps (a picture on a wall) are no occlusion
_HALVINGS = 11  # of the way between two pixels


def targets(camera: Camera, hits: Hits, table: Table) -> dict[str, Array]:
    """Every task's target of one image, as a shard stores it."""
    return {
        "semantic": table.label[hits.primitive],
        "depth": hits.depth.astype(np.float32)[..., None],
        "normal": np.moveaxis(hits.normal, 0, -1).astype(np.float32),
        "edge_occlusion": occlusion_edges(camera, hits, table).astype(np.uint8)[..., None],
        "reshading": reshading(hits).astype(np.float32)[..., None],
    }


def reshading(hits: Hits) -> Array:
    """Lambert shading ``[H,W]`` of a white room lit from the camera: cosine of the view angle."""
    n, d = hits.normal, hits.ray
    facing = -(n[0] * d[0] + n[1] * d[1] + n[2] * d[2])
    cosine: Array = facing / np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    return np.clip(cosine, 0.0, 1.0)


def occlusion_edges(camera: Camera, hits: Hits, table: Table) -> Array:
    """Pixels on either side of an occluding contour, bool ``[H,W]``.

    Where two neighbours see different primitives, the ray between them that passes from one to
    the other is closed in on. At a crease or a contact both have the same depth there; if they
    are ``OCCLUSION_GAP`` apart, the nearer occludes the other, and both pixels are edges.
    """
    edges = np.zeros(hits.depth.shape, np.bool_)
    for down, right in ((0, 1), (1, 0)):
        height, width = hits.depth.shape
        p, q = np.s_[: height - down, : width - right], np.s_[down:, right:]
        rows, columns = np.nonzero(hits.primitive[p] != hits.primitive[q])
        at, to = (rows, columns), (rows + down, columns + right)
        occluding = passing_gap(camera, hits, table, at, to) > OCCLUSION_GAP
        edges[at] |= occluding
        edges[to] |= occluding
    return edges


def passing_gap(camera: Camera, hits: Hits, table: Table, at: Pixels, to: Pixels) -> Array:
    """Metres between two surfaces, in depth, on the ray where the view passes between them.

    ``at`` and ``to`` are the rows and columns of P pairs of neighbours that see different
    primitives; infinite where the view passes over a third thing in between.
    """
    start, stop = hits.ray[:, at[0], at[1]], hits.ray[:, to[0], to[1]]
    near_depth = along(camera, table, hits.primitive[at], start, stop)
    far_depth = along(camera, table, hits.primitive[to], start, stop)
    low, high = np.zeros(len(at[0])), np.ones(len(at[0]))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        before = near_depth(middle) < far_depth(middle)
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    gap: Array = np.abs(near_depth(low) - far_depth(high))
    return gap
