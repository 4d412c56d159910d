"""The photograph: reflectance, lights with shadows, soft corners, exposure, sensor noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.rooms.raycast import Hits, enter_sphere, into_frame, slab
from had_core.data.rooms.scene import SHELL, Light, Primitive, Scene, Shape, Table
from had_core.data.rooms.textures import albedo, hashed

Array = NDArray[Any]
_AMBIENT = np.array([0.21, 0.21, 0.215])
_CORNER = 0.35  # metres over which corners of the room are darker


def photograph(scene: Scene, table: Table, hits: Hits, seed: int) -> Array:
    """RGB uint8 ``[H,W,3]``."""
    width = hits.depth.shape[1]
    color = albedo(hits, table, 1.0 / (scene.camera.focal * width))
    light = _ambient(scene, hits)
    for index, lamp in enumerate(scene.lights):
        received = _received(lamp, hits)
        if index == 0:
            received = np.where(_in_shadow(scene, lamp, hits), 0.0, received)
        light = light + received[..., None] * np.array(lamp.color)
    glow = table.glow[hits.primitive][..., None]
    radiance = color * (light + glow)
    exposed = radiance / (0.75 + radiance)  # a soft shoulder instead of a hard limit
    display = np.sqrt(np.minimum(exposed * 1.35, 1.0))
    return _sensor(display, seed)


def _sensor(display: Array, seed: int) -> Array:
    """Add noise of +-1.5 % and quantise to 8 bits."""
    height, width, _ = display.shape
    row, column = np.indices((height, width))
    grain = np.stack(
        [hashed(row, column, np.full_like(row, seed % 65521 * 3 + k)) for k in range(3)], -1
    )
    return np.floor(np.clip(display + 0.03 * (grain - 0.5), 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def _ambient(scene: Scene, hits: Hits) -> Array:
    """Light from everywhere: more from above, less in the corners of the room."""
    upward = -hits.normal_world[1]
    open_share = np.ones(hits.depth.shape)
    for axis, extent in enumerate(scene.size):
        along = hits.point[axis] + (extent if axis == 1 else 0.0)
        for gap in (along, extent - along):
            # The face that the point itself lies on does not darken it.
            off_face = np.where(gap > 1e-6, gap, 10.0) / _CORNER
            open_share = open_share * (1.0 - 0.3 / (1.0 + off_face * off_face))
    level = (0.88 + 0.12 * upward) * open_share
    ambient: Array = level[..., None] * _AMBIENT
    return ambient


def _received(lamp: Light, hits: Hits) -> Array:
    """Diffuse light from ``lamp`` without shadows, ``[H,W]``."""
    x, y, z = (lamp.position[k] - hits.point[k] for k in range(3))
    squared = x * x + y * y + z * z
    n = hits.normal_world
    cosine = (n[0] * x + n[1] * y + n[2] * z) / np.sqrt(squared)
    received: Array = np.maximum(cosine, 0.0) / (0.5 + 0.3 * squared)
    return received


def _in_shadow(scene: Scene, lamp: Light, hits: Hits) -> Array:
    """Whether a piece of furniture lies between the lamp and the point, bool ``[H,W]``."""
    ray = np.stack([hits.point[k] - lamp.position[k] for k in range(3)]).reshape(3, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        beneath = np.where(ray[1] > 0, ray[[0, 2]] / ray[1], np.inf)
    dark = np.zeros(ray.shape[1], np.bool_)
    for item in scene.primitives[SHELL:]:
        if item.casts_shadow:
            near = np.flatnonzero(~dark & _beneath(item, lamp, beneath))
            dark[near] = _blocks(item, lamp, ray[:, near])
    return dark.reshape(hits.depth.shape)


def _beneath(item: Primitive, lamp: Light, beneath: Array) -> Array:
    """Which rays can meet ``item``: seen from the lamp, the points within its outline's box."""
    right, down, front = (item.center[k] - lamp.position[k] for k in range(3))
    top, bottom = down - item.half[1], down + item.half[1]
    if top <= 0.01:  # reaches up to the lamp: no outline
        return np.ones(beneath.shape[1], np.bool_)
    reach = item.half[0] + item.half[2] if item.shape is Shape.BOX else item.half[0]
    inside = np.ones(beneath.shape[1], np.bool_)
    for middle, along in ((right, beneath[0]), (front, beneath[1])):
        low, high = middle - reach, middle + reach
        inside &= along >= min(low / top, low / bottom)
        inside &= along <= max(high / top, high / bottom)
    return inside


def _blocks(item: Primitive, lamp: Light, ray: Array) -> Array:
    """Which rays ``[3,P]`` from the lamp to a point meet ``item`` on the way."""
    origin = into_frame(
        item, *(np.array(lamp.position[k] - item.center[k]) for k in range(3))
    ).reshape(3, 1)
    direction = into_frame(item, ray[0], ray[1], ray[2])
    if item.shape is Shape.BOX:
        enter, leave, _ = slab(origin, direction, np.array(item.half).reshape(3, 1))
        hit = enter <= leave
    else:
        enter, hit = enter_sphere(origin, direction, item.half[0])
    return np.asarray(hit & (enter > 0) & (enter < 0.999))
