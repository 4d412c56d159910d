"""Casting rays at a scene: what each pixel sees, exactly, in float64.

Only + - * / sqrt and comparisons: each is exactly rounded, so hits do not depend on the machine.
Arrays end in the axis of pixels P; a box is tested only where its projection can lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.rooms.scene import SHELL, Camera, Primitive, Scene, Shape, Table

Array = NDArray[Any]
_NEAR = 0.05  # metres; nothing lies closer to the camera
_TINY = 1e-200  # for a ray along a face: what it divides stays finite


@dataclass(frozen=True)
class Hits:
    """What the pixels see, ``[H,W]`` (vectors ``[3,H,W]``).

    Attributes:
        ray: direction in the camera frame, z = 1, so that distance along it is z-depth.
        depth: z-depth in metres.
        primitive: row of the scene's table.
        axis: axis of the box face, 0 to 2 in the box's own frame (2 for spheres).
        local: hit point in the primitive's own frame, relative to its centre.
        normal: unit, camera frame, towards the camera.
        point, normal_world: in the world.
    """

    ray: Array
    depth: Array
    primitive: Array
    axis: Array
    local: Array
    normal: Array
    point: Array
    normal_world: Array


def cast(scene: Scene, table: Table, height: int, width: int) -> Hits:
    """Cast one ray through the centre of every pixel."""
    camera = scene.camera
    ray = camera_rays(camera, height, width)
    direction = _to_world(camera, ray)
    depth, primitive, axis = _shell(scene, camera, direction)
    for index in range(SHELL, len(scene.primitives)):
        _nearer(scene.primitives[index], index, camera, direction, depth, primitive, axis)
    point = np.stack([camera.position[k] + depth * direction[k] for k in range(3)])
    local, towards = _local(table, primitive, point, direction)
    normal_world = _normals(table, primitive, axis, local, towards)
    normal = np.stack([_dot(row, normal_world) for row in camera.axes])
    return Hits(ray, depth, primitive, axis, local, normal, point, normal_world)


def camera_rays(camera: Camera, height: int, width: int) -> Array:
    """Ray directions ``[3,H,W]`` in the camera frame: x right, y down, z = 1."""
    focal = camera.focal * width
    x = (np.arange(width) + 0.5 - width / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    return np.stack(
        [
            np.broadcast_to(x[None, :], (height, width)),
            np.broadcast_to(y[:, None], (height, width)),
            np.ones((height, width)),
        ]
    )


def slab(origin: Array, direction: Array, half: Array) -> tuple[Array, Array, Array]:
    """Where rays ``[3,...]`` enter and leave a box centred at 0: (enter, leave, axis entered)."""
    inverse = 1.0 / np.where(direction == 0, _TINY, direction)
    middle, reach = -origin * inverse, np.abs(half * inverse)
    near, far = middle - reach, middle + reach
    enter = np.maximum(np.maximum(near[0], near[1]), near[2])
    leave = np.minimum(np.minimum(far[0], far[1]), far[2])
    axis = np.where(near[2] >= enter, 2, np.where(near[1] >= enter, 1, 0))
    return enter, leave, axis


def along(
    camera: Camera, table: Table, primitive: Array, start: Array, stop: Array
) -> Callable[[Array], Array]:
    """Depth of P primitives along P rays: a function of shares ``[P]`` of the way between two
    camera rays ``[3,P]``; infinite where the ray misses its primitive.
    """
    center, turn = table.center[primitive].T, table.turn[primitive].T
    half, shape = table.half[primitive].T, table.shape[primitive]
    offset = np.array(camera.position)[:, None] - center
    origin = _turned(turn, offset)
    first = _turned(turn, _to_world(camera, start))
    change = _turned(turn, _to_world(camera, stop)) - first
    axis = np.minimum(primitive // 2, 2)[None]
    wall = np.where(primitive % 2 == 1, 1.0, -1.0) * np.take_along_axis(half, axis, 0)[0]
    reach = wall - np.take_along_axis(origin, axis, 0)[0]

    def depth(share: Array) -> Array:
        direction = first + share * change
        enter, leave, _ = slab(origin, direction, half)
        ball, hit_ball = enter_sphere(origin, direction, half[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            face = reach / np.take_along_axis(direction, axis, 0)[0]
        met = np.where(shape == Shape.BOX, enter, np.where(shape == Shape.SPHERE, ball, face))
        hit = np.where(
            shape == Shape.BOX, enter <= leave, np.where(shape == Shape.SPHERE, hit_ball, True)
        )
        return np.where(hit & (met > 0), met, np.inf)

    return depth


def _turned(turn: Array, vector: Array) -> Array:
    """Vectors ``[3,P]`` of the world in frames turned by (cos, sin) ``[2,P]``."""
    (c, s), (x, y, z) = turn, vector
    return np.stack([c * x - s * z, y, s * x + c * z])


def into_frame(primitive: Primitive, x: Array, y: Array, z: Array) -> Array:
    """A world direction in the primitive's own frame, ``[3,...]``."""
    c, s = primitive.turn
    return np.stack([c * x - s * z, y, s * x + c * z])


def _to_world(camera: Camera, ray: Array) -> Array:
    right, down, forward = camera.axes
    return np.stack([ray[0] * right[k] + ray[1] * down[k] + ray[2] * forward[k] for k in range(3)])


def _shell(scene: Scene, camera: Camera, direction: Array) -> tuple[Array, Array, Array]:
    """The inner face of the room that each ray meets; all rays meet one."""
    width, height, deep = scene.size
    low, high = (0.0, -height, 0.0), (width, 0.0, deep)
    with np.errstate(divide="ignore"):
        distance = np.stack(
            [
                np.abs(
                    (np.where(direction[k] > 0, high[k], low[k]) - camera.position[k])
                    / direction[k]
                )
                for k in range(3)
            ]
        )
    depth = np.minimum(np.minimum(distance[0], distance[1]), distance[2])
    axis = np.where(distance[2] <= depth, 2, np.where(distance[1] <= depth, 1, 0))
    positive = np.take_along_axis(direction, axis[None], 0)[0] > 0
    return depth, 2 * axis + positive, axis


def _nearer(
    item: Primitive,
    index: int,
    camera: Camera,
    direction: Array,
    depth: Array,
    primitive: Array,
    axis: Array,
) -> None:
    """Write ``item`` into ``depth``, ``primitive`` and ``axis`` where it is nearer."""
    window = _window(item, camera, depth.shape)
    if window is None:
        return
    x, y, z = direction[(slice(None), *window)]
    origin = into_frame(
        item, *(np.array(camera.position[k] - item.center[k]) for k in range(3))
    ).reshape(3, 1, 1)
    local = into_frame(item, x, y, z)
    if item.shape is Shape.BOX:
        enter, leave, face = slab(origin, local, np.array(item.half).reshape(3, 1, 1))
        hit = enter <= leave
    else:
        enter, hit = enter_sphere(origin, local, item.half[0])
        face = np.full(enter.shape, 2)
    hit &= (enter > _NEAR) & (enter < depth[window])
    depth[window][hit] = enter[hit]
    primitive[window][hit] = index
    axis[window][hit] = face[hit]


def enter_sphere(origin: Array, direction: Array, radius: Array | float) -> tuple[Array, Array]:
    """Where rays ``[3,...]`` enter a sphere around 0, and whether they meet it at all."""
    a = _dot(direction, direction)
    b = _dot(origin, direction)
    c = _dot(origin, origin) - radius * radius
    root = b * b - a * c
    return (-b - np.sqrt(np.maximum(root, 0.0))) / a, root > 0


def _window(item: Primitive, camera: Camera, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Rows and columns that can see ``item``: the box around its projected corners."""
    height, width = shape
    c, s = item.turn
    hx, hy, hz = item.half
    signs = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * 2.0 - 1.0
    lx, ly, lz = signs[:, 0] * hx, signs[:, 1] * hy, signs[:, 2] * hz
    offset = np.stack([c * lx + s * lz, ly, -s * lx + c * lz])
    corner = [offset[k] + (item.center[k] - camera.position[k]) for k in range(3)]
    right, down, forward = (
        row[0] * corner[0] + row[1] * corner[1] + row[2] * corner[2] for row in camera.axes
    )
    if forward.max() <= _NEAR:
        return None
    if forward.min() <= _NEAR:
        return slice(0, height), slice(0, width)
    focal = camera.focal * width
    columns = right / forward * focal + width / 2
    rows = down / forward * focal + height / 2
    left, until = max(0, int(columns.min()) - 1), min(width, int(columns.max()) + 2)
    top, bottom = max(0, int(rows.min()) - 1), min(height, int(rows.max()) + 2)
    if left >= until or top >= bottom:
        return None
    return slice(top, bottom), slice(left, until)


def _local(table: Table, primitive: Array, point: Array, direction: Array) -> tuple[Array, Array]:
    """Hit points and ray directions in the frames of the primitives hit."""
    turn = np.moveaxis(table.turn[primitive], -1, 0)
    offset = point - np.moveaxis(table.center[primitive], -1, 0)
    return _turned(turn, offset), _turned(turn, direction)


def _normals(table: Table, primitive: Array, axis: Array, local: Array, towards: Array) -> Array:
    """Unit normals in the world, against the ray."""
    face = np.stack([np.where(axis == k, -np.sign(towards[k]), 0.0) for k in range(3)])
    ball = local / np.sqrt(_dot(local, local))
    own = np.where(table.shape[primitive] == Shape.SPHERE, ball, face)
    c, s = table.turn[primitive, 0], table.turn[primitive, 1]
    return np.stack([c * own[0] + s * own[2], own[1], -s * own[0] + c * own[2]])


def _dot(a: Any, b: Any) -> Array:
    """Dot product over the first axis, in a fixed order of additions."""
    total: Array = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return total
