"""Procedural textures: integer hashes and exactly rounded arithmetic, so the same everywhere.

A texture maps surface coordinates ``u, v`` (metres, or -1..1 over a face) of P pixels to a blend
0..1 between a material's two colours; detail finer than a pixel fades to the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.rooms.raycast import Hits
from had_core.data.rooms.scene import Pattern, Shape, Table

Array = NDArray[Any]


def hashed(x: Array, y: Array, seed: Array) -> Array:
    """A float in 0..1 for whole numbers x, y and seed; the same on every machine."""
    h = (
        x.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)
        + y.astype(np.int64).astype(np.uint32) * np.uint32(0x85EBCA77)
        + seed.astype(np.int64).astype(np.uint32) * np.uint32(0xC2B2AE3D)
    )
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    h ^= h >> np.uint32(15)
    share: Array = h * 2.0**-32
    return share


def noise(u: Array, v: Array, seed: Array) -> Array:
    """Smooth value noise 0..1 on a unit lattice."""
    i, j = np.floor(u), np.floor(v)
    fu, fv = u - i, v - j
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    low = _mix(hashed(i, j, seed), hashed(i + 1, j, seed), fu)
    high = _mix(hashed(i, j + 1, seed), hashed(i + 1, j + 1, seed), fu)
    return _mix(low, high, fv)


def albedo(hits: Hits, table: Table, pixel_angle: float) -> Array:
    """Linear RGB reflectance ``[H,W,3]`` of what each pixel sees."""
    u, v, u_face, v_face = surface_coordinates(hits, table)
    primitive = hits.primitive
    n, d = hits.normal, hits.ray
    slant = np.abs(n[0] * d[0] + n[1] * d[1] + n[2] * d[2])
    size = hits.depth * pixel_angle / np.maximum(slant, 0.05)  # of a pixel on the surface, metres
    detail = np.clip(1.6 - 1.6 * size / table.scale[primitive], 0.0, 1.0)
    # Faces of one box differ, so that its sides do not repeat the same noise.
    seed = primitive * 8 + hits.axis
    color = np.empty((*primitive.shape, 3))
    pattern = table.pattern[primitive]
    for kind in np.unique(pattern):
        at = pattern == kind
        index = primitive[at]
        first, second = table.first[index], table.second[index]
        if kind in _PAINTINGS:
            paint = _PAINTINGS[kind]
            color[at] = paint(u_face[at], v_face[at], u[at], seed[at], first, second)
            continue
        blend = _BLENDS[kind](u[at], v[at], table.scale[index], seed[at])
        blend = 0.5 + (blend - 0.5) * detail[at]
        color[at] = first + (second - first) * blend[:, None]
    return color


def surface_coordinates(hits: Hits, table: Table) -> tuple[Array, Array, Array, Array]:
    """``u, v`` in metres (v down on upright faces) and the same over the face, -1..1."""
    x, y, z = hits.local
    half = table.half[hits.primitive]
    upright_x, flat = hits.axis == 0, hits.axis == 1
    u, v = np.where(upright_x, z, x), np.where(flat, z, y)
    u_half = np.where(upright_x, half[..., 2], half[..., 0])
    v_half = np.where(flat, half[..., 2], half[..., 1])
    # Faces start at a corner, so that tiles and bricks meet the edges of the room.
    ball = table.shape[hits.primitive] == Shape.SPHERE
    return (
        np.where(ball, u, u + u_half),
        np.where(ball, v, v + v_half),
        u / u_half,
        v / v_half,
    )


def _mix(a: Array, b: Array, t: Array) -> Array:
    mixed: Array = a + (b - a) * t
    return mixed


def _offset(a: Array, strength: float, t: Array) -> Array:
    moved: Array = a + strength * (t - 0.5)
    return moved


def _plain(u: Array, v: Array, scale: Array, seed: Array) -> Array:
    return _offset(np.full_like(u, 0.5), 0.3, noise(u / scale, v / scale, seed))


def _checker(u: Array, v: Array, scale: Array, seed: Array) -> Array:
    i, j = np.floor(u / scale), np.floor(v / scale)
    tile = (i + j) - 2 * np.floor((i + j) / 2)
    return _offset(0.2 + 0.7 * tile, 0.2, hashed(i, j, seed))


def _stripes(u: Array, v: Array, scale: Array, seed: Array) -> Array:
    phase = u / scale - np.floor(u / scale)
    return _offset(np.where(phase < 0.4, 0.85, 0.15), 0.1, noise(u / 0.1, v / 0.1, seed))


def _bricks(u: Array, v: Array, scale: Array, seed: Array) -> Array:
    row = np.floor(v / scale)
    shifted = u / (2 * scale) + (row - 2 * np.floor(row / 2)) * 0.5
    column = np.floor(shifted)
    gap = (v / scale - row < 0.14) | (shifted - column < 0.07)
    return np.where(gap, 1.0, 0.05 + 0.45 * hashed(column, row, seed))


def _planks(u: Array, v: Array, scale: Array, seed: Array) -> Array:
    row = np.floor(v / scale)
    column = np.floor(u / (7 * scale) + hashed(row, row, seed))
    gap = v / scale - row < 0.08
    grain = noise(u / (2 * scale), v / (scale / 4), seed)
    return np.where(gap, 0.0, 0.2 + 0.45 * hashed(column, row, seed) + 0.35 * grain)


def _fabric(u: Array, v: Array, scale: Array, seed: Array) -> Array:
    weave = hashed(np.floor(u / (scale / 8)), np.floor(v / (scale / 8)), seed)
    return _offset(0.4 + 0.3 * weave, 0.3, noise(u / scale, v / scale, seed))


def _panels(u_face: Array, v_face: Array, u: Array, seed: Array, a: Array, b: Array) -> Array:
    """Doors with a groove around each panel and a knob between them."""
    wide = np.abs(u_face)
    groove = (wide < 0.03) | (wide > 0.94) | (np.abs(v_face) > 0.96)
    knob = (np.abs(wide - 0.10) < 0.035) & (np.abs(v_face + 0.05) < 0.06)
    grain = noise(u_face * 6, v_face * 3, seed)
    shade = np.where(knob, 1.6, np.where(groove, 0.45, 0.85 + 0.3 * grain))
    color: Array = (a + (b - a) * grain[:, None]) * shade[:, None]
    return np.minimum(color, 1.0)


def _books(u_face: Array, v_face: Array, u: Array, seed: Array, a: Array, b: Array) -> Array:
    """A row of spines of hashed colours."""
    spine = np.floor(u / 0.045)
    red, green, blue = (0.06 + 0.6 * hashed(spine, np.full_like(u, k), seed) for k in range(3))
    band = np.where(np.abs(v_face + 0.4) < 0.12, 1.5, 1.0)
    edge = np.where(u / 0.045 - spine < 0.15, 0.35, 1.0)
    color: Array = np.stack([red, green, blue], -1) * (band * edge)[:, None]
    return np.minimum(color, 1.0)


def _picture(u_face: Array, v_face: Array, u: Array, seed: Array, a: Array, b: Array) -> Array:
    """A frame, a mount and an abstract painting in three hashed colours."""
    border = np.maximum(np.abs(u_face), np.abs(v_face))
    zero = np.zeros_like(u)
    field = noise(u_face * 2.2, v_face * 2.2, seed)
    tone = np.floor(field * 3.999)
    paint = np.stack(
        [0.05 + 0.8 * hashed(tone, zero + k, seed) for k in range(3)],
        -1,
    )
    inner = np.where((border > 0.72)[:, None], np.array([0.85, 0.83, 0.78]), paint)
    framed: Array = np.where((border > 0.86)[:, None], a, inner)
    return framed


def _panes(u_face: Array, v_face: Array, u: Array, seed: Array, a: Array, b: Array) -> Array:
    """A window: frame and bars in the first colour, sky over a horizon in the second."""
    bars = (np.maximum(np.abs(u_face), np.abs(v_face)) > 0.9) | (np.abs(u_face) < 0.05)
    bars |= np.abs(v_face + 0.1) < 0.04
    hills = v_face > 0.35 + 0.4 * (noise(u_face * 2, np.zeros_like(u), seed) - 0.5)
    sky = b * (1.0 - 0.25 * (v_face + 1))[:, None]
    view = np.where(hills[:, None], np.array([0.16, 0.26, 0.12]), sky)
    seen: Array = np.where(bars[:, None], a, view)
    return seen


_BLENDS = {
    Pattern.PLAIN: _plain,
    Pattern.CHECKER: _checker,
    Pattern.STRIPES: _stripes,
    Pattern.BRICKS: _bricks,
    Pattern.PLANKS: _planks,
    Pattern.FABRIC: _fabric,
}
_PAINTINGS = {
    Pattern.PANELS: _panels,
    Pattern.BOOKS: _books,
    Pattern.PICTURE: _picture,
    Pattern.PANES: _panes,
}
