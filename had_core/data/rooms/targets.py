"""Ground truth from the hits: exact, never from the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.rooms.raycast import Hits
from had_core.data.rooms.scene import Shape, Table

Array = NDArray[Any]
OCCLUSION_GAP = 0.05  # metres; thinner steps (a picture on a wall) are no occlusion


def targets(hits: Hits, table: Table) -> dict[str, Array]:
    """Every task's target of one image, as a shard stores it."""
    return {
        "semantic": table.label[hits.primitive],
        "depth": hits.depth.astype(np.float32)[..., None],
        "normal": np.moveaxis(hits.normal, 0, -1).astype(np.float32),
        "edge_occlusion": occlusion_edges(hits, table).astype(np.uint8)[..., None],
        "reshading": reshading(hits).astype(np.float32)[..., None],
    }


def reshading(hits: Hits) -> Array:
    """Lambert shading ``[H,W]`` of a white room lit from the camera: cosine of the view angle."""
    n, d = hits.normal, hits.ray
    facing = -(n[0] * d[0] + n[1] * d[1] + n[2] * d[2])
    cosine: Array = facing / np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    return np.clip(cosine, 0.0, 1.0)


def occlusion_edges(hits: Hits, table: Table) -> Array:
    """Pixels on either side of an occluding contour, bool ``[H,W]``.

    Two neighbours that see different primitives are joined where the two surfaces, continued as
    planes, meet between the pixels' rays (a crease or a contact); else one occludes the other,
    and both pixels are edges if the surfaces are ``OCCLUSION_GAP`` apart in depth half-way.
    The inverse depth of a plane is affine in the image, which makes the test exact.
    """
    edges = np.zeros(hits.depth.shape, np.bool_)
    for p, q in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1, :], np.s_[1:, :]),
    ):
        occluding = _occluding(hits, table, p, q)
        edges[p] |= occluding
        edges[q] |= occluding
    return edges


def _occluding(hits: Hits, table: Table, p: Any, q: Any) -> Array:
    """Whether neighbours ``p`` and ``q`` lie on two sides of an occluding contour."""
    a_at_p, b_at_q = 1.0 / hits.depth[p], 1.0 / hits.depth[q]
    a_at_q, b_at_p = _continued(hits, table, p, q), _continued(hits, table, q, p)
    apart = (a_at_p - b_at_p) * (a_at_q - b_at_q) > 0
    a, b = (a_at_p + a_at_q) / 2, (b_at_p + b_at_q) / 2
    low, high = np.minimum(a, b), np.maximum(a, b)
    gap = (low <= 0) | (high - low > OCCLUSION_GAP * high * low)
    differ = hits.primitive[p] != hits.primitive[q]
    return np.asarray(differ & apart & gap)


def _continued(hits: Hits, table: Table, at: Any, to: Any) -> Array:
    """Inverse depth of the surface seen at ``at`` where the ray of ``to`` meets its plane.

    A sphere is continued at constant depth: near its rim the tangent plane says nothing.
    """
    here = np.index_exp[:] + at
    n, d, there = hits.normal[here], hits.ray[here], hits.ray[np.index_exp[:] + to]
    inverse = 1.0 / hits.depth[at]
    ratio = (n[0] * there[0] + n[1] * there[1] + n[2] * there[2]) / (
        n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
    )
    flat = table.shape[hits.primitive[at]] != Shape.SPHERE
    continued: Array = np.where(flat, inverse * ratio, inverse)
    return continued
