"""The ray-caster against independent, slower ways to the same answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from had_core.data.rooms import CLASSES, raycast, shading
from had_core.data.rooms.layout import furnish
from had_core.data.rooms.raycast import Hits, cast
from had_core.data.rooms.scene import Camera, Frame, Material, Pattern, Scene, Shape, Table
from had_core.data.rooms.targets import OCCLUSION_GAP, occlusion_edges, passing_gap, targets

H, W = 30, 40
SEEDS = (1, 2, 3, 4)
GREY = Material(Pattern.PLAIN, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def seen(seed: int, height: int = H, width: int = W) -> tuple[Scene, Table, Hits]:
    scene = furnish(seed)
    table = Table.of(scene.primitives)
    return scene, table, cast(scene, table, height, width)


def by_hand(*boxes: tuple[tuple, tuple], ball: tuple | None = None) -> tuple[Scene, Table, Hits]:
    """A 4 x 3 x 5 m room seen from (2, 1.5 high, 0.5), straight ahead; boxes of (at, size)."""
    camera = Camera((2.0, -1.5, 0.5), ((1, 0, 0), (0, 1, 0), (0, 0, 1)), 0.8)
    scene = Scene((4.0, 3.0, 5.0), camera)
    scene.shell(GREY, GREY, GREY)
    for at, size in boxes:
        scene.box(Frame(0, 0), at, size, "objects", scene.thing(), GREY)
    if ball:
        scene.sphere(Frame(0, 0), *ball, "objects", scene.thing(), GREY)
    table = Table.of(scene.primitives)
    return scene, table, cast(scene, table, H, W)


def slow_depth(scene: Scene, direction: np.ndarray) -> tuple[float, int]:
    """Nearest hit by intersecting every face of every primitive as a plane in the world."""
    origin, best = np.array(scene.camera.position), (math.inf, -1)
    for index, item in enumerate(scene.primitives):
        center, (c, s) = np.array(item.center), item.turn
        axes = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # own axes in the world
        if item.shape is Shape.SPHERE:
            a, b = direction @ direction, 2 * direction @ (origin - center)
            d = b * b - 4 * a * ((origin - center) @ (origin - center) - item.half[0] ** 2)
            distances = [(-b - math.sqrt(d)) / (2 * a)] if d > 0 else []
        else:
            distances = []
            for axis in range(3):
                for side in (-1, 1):
                    if item.shape is Shape.FACE and index != 2 * axis + (side > 0):
                        continue
                    slope = axes[axis] @ direction
                    if slope == 0:
                        continue
                    start = center + side * item.half[axis] * axes[axis]
                    t = axes[axis] @ (start - origin) / slope
                    offset = axes @ (origin + t * direction - center)
                    if all(abs(offset[k]) <= item.half[k] + 1e-9 for k in range(3) if k != axis):
                        distances.append(t)
        nearest = min((t for t in distances if t > 0.05), default=math.inf)
        if nearest < best[0] - 1e-12:
            best = (nearest, index)
    return best


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_and_class_equal_a_slow_tracer(seed: int) -> None:
    scene, table, hits = seen(seed)
    axes = np.array(scene.camera.axes)
    for row, column in np.random.default_rng(seed).integers(0, (H, W), (40, 2)):
        direction = hits.ray[:, row, column] @ axes
        depth, index = slow_depth(scene, direction)
        assert hits.depth[row, column] == pytest.approx(depth, rel=1e-9)
        label = table.label[hits.primitive[row, column]]
        assert label == CLASSES.index(scene.primitives[index].label)


def test_rays_follow_the_pinhole_model() -> None:
    """Camera frame: x right, y down, z forward; depth is along z."""
    _, _, hits = by_hand()
    assert hits.ray[0, 0, 0] < 0 < hits.ray[0, 0, -1]
    assert hits.ray[1, 0, 0] < 0 < hits.ray[1, -1, 0]
    assert (hits.ray[2] == 1).all()
    assert hits.depth[H // 2, W // 2] == pytest.approx(4.5)
    below = hits.ray[:, -1, W // 2]
    assert hits.depth[-1, W // 2] == pytest.approx(1.5 / below[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_normals_are_unit_and_face_the_camera(seed: int) -> None:
    scene, table, hits = seen(seed)
    np.testing.assert_allclose((hits.normal**2).sum(axis=0), 1, atol=1e-12)
    assert ((hits.normal * hits.ray).sum(axis=0) < 0).all()
    stored = targets(scene.camera, hits, table)["normal"]
    np.testing.assert_allclose(stored, np.moveaxis(hits.normal, 0, -1), atol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_agrees_with_normals(seed: int) -> None:
    """Points of one flat face lie on one plane with its normal; of a ball on one sphere."""
    scene, table, hits = seen(seed)
    points = hits.depth * hits.ray
    for index in np.unique(hits.primitive):
        item = scene.primitives[index]
        for axis in range(3):
            at = (hits.primitive == index) & (hits.axis == axis)
            if not at.any():
                continue
            normal, own = hits.normal[:, at], points[:, at]
            if item.shape is Shape.SPHERE:
                centers = own - item.half[0] * normal
                assert np.ptp(centers, axis=1).max() < 1e-9
            else:
                assert np.ptp(normal, axis=1).max() < 1e-12
                assert np.ptp((normal * own).sum(axis=0)) < 1e-9
    assert table.shape[hits.primitive].max() <= Shape.SPHERE


@pytest.mark.parametrize("seed", SEEDS)
def test_semantics_agree_with_geometry(seed: int) -> None:
    scene, table, hits = seen(seed)
    label = targets(scene.camera, hits, table)["semantic"]
    room = hits.primitive < 6
    up = hits.normal_world[1]
    height = -hits.point[1]
    floor, ceiling, wall = (label == CLASSES.index(n) for n in ("floor", "ceiling", "wall"))
    assert (height[floor] < 0.02).all() and (up[floor & room] == -1).all()
    assert (np.abs(height[ceiling] - scene.size[1]) < 1e-9).all() and (up[ceiling] == 1).all()
    assert (up[wall] == 0).all()
    assert (height > -1e-9).all() and (height < scene.size[1] + 1e-9).all()


def test_reshading_is_the_cosine_of_the_view_angle() -> None:
    scene, table, hits = by_hand()
    shade = targets(scene.camera, hits, table)["reshading"][..., 0]
    ray = hits.ray[:, H // 2, W // 2 + 3]
    assert shade[H // 2, W // 2 + 3] == pytest.approx(1 / np.linalg.norm(ray), abs=1e-7)
    down = hits.ray[:, -1, W // 2]
    assert shade[-1, W // 2] < shade[H // 2, W // 2]
    assert shade[-1, W // 2] == pytest.approx(down[1] / np.linalg.norm(down), abs=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_looking_only_where_a_box_can_be_changes_nothing(seed: int, monkeypatch) -> None:
    scene, table, fast = seen(seed)
    lamp = scene.lights[0]
    fast_shadow = shading._in_shadow(scene, lamp, fast)
    everywhere = (slice(0, H), slice(0, W))
    monkeypatch.setattr(raycast, "_window", lambda item, camera, shape: everywhere)
    monkeypatch.setattr(
        shading, "_beneath", lambda item, lamp, beneath: np.ones(beneath.shape[1], bool)
    )
    slow = cast(scene, table, H, W)
    np.testing.assert_array_equal(slow.depth, fast.depth)
    np.testing.assert_array_equal(slow.primitive, fast.primitive)
    np.testing.assert_array_equal(shading._in_shadow(scene, lamp, slow), fast_shadow)
    assert 0 < fast_shadow.mean() < 0.9


def test_an_empty_room_has_no_occlusion() -> None:
    scene, table, hits = by_hand()
    assert len(np.unique(hits.primitive)) == 5  # back wall, two sides, floor and ceiling
    assert not occlusion_edges(scene.camera, hits, table).any()


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels on either side of the border of a mask."""
    edge = np.zeros_like(mask)
    for p, q in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = mask[p] != mask[q]
        edge[p] |= differ
        edge[q] |= differ
    return edge


def test_a_floating_box_and_ball_are_outlined() -> None:
    for scene, table, hits in (
        by_hand(((2.1, 1.2, 2.5), (0.6, 0.5, 0.4))),
        by_hand(ball=((2.1, 1.2, 2.5), 0.3)),
    ):
        edges = occlusion_edges(scene.camera, hits, table)
        np.testing.assert_array_equal(edges, outline(hits.primitive >= 6))


def test_where_a_box_stands_there_is_no_edge() -> None:
    scene, table, hits = by_hand(((2.0, 0.0, 4.4), (1.0, 0.6, 0.5)))
    mask = hits.primitive >= 6
    edges, border = occlusion_edges(scene.camera, hits, table), outline(mask)
    bottom = np.flatnonzero(mask.any(axis=1)).max()
    middle = np.flatnonzero(mask[bottom])[2:-2]
    assert border[bottom, middle].all() and not edges[bottom, middle].any()
    top = np.flatnonzero(mask.any(axis=1)).min()
    assert edges[top, np.flatnonzero(mask[top])].all()
    assert not (edges & ~border).any()


def test_a_step_thinner_than_the_gap_is_no_edge() -> None:
    for thickness, expected in ((OCCLUSION_GAP / 2, False), (OCCLUSION_GAP * 2, True)):
        scene, table, hits = by_hand(((2.0, 1.0, 5.0 - thickness / 2), (0.8, 0.8, thickness)))
        assert (hits.primitive >= 6).any()
        assert occlusion_edges(scene.camera, hits, table).any() == expected


def trace(scene: Scene, table: Table, rays_3N: np.ndarray, monkeypatch) -> Hits:
    """Cast any rays of the camera frame."""
    monkeypatch.setattr(raycast, "camera_rays", lambda camera, height, width: rays_3N[:, None])
    monkeypatch.setattr(
        raycast, "_window", lambda item, camera, shape: (slice(0, shape[0]), slice(0, shape[1]))
    )
    return cast(scene, table, 1, rays_3N.shape[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_agree_with_bisection_between_the_pixels(seed: int, monkeypatch) -> None:
    """Close in on where the ray between two neighbours passes from one surface to the next: the
    depths on either side differ by the gap if one occludes the other, and not at all at a crease.
    """
    scene, table, hits = seen(seed)
    edges = occlusion_edges(scene.camera, hits, table)
    right = np.argwhere(hits.primitive[:, :-1] != hits.primitive[:, 1:])
    p, q = right.T, (right + np.array([0, 1])).T
    low, high = hits.ray[:, p[0], p[1]], hits.ray[:, q[0], q[1]]
    first, last = hits.primitive[tuple(p)], hits.primitive[tuple(q)]
    for _ in range(24):
        middle = (low + high) / 2
        before = trace(scene, table, middle, monkeypatch).primitive[0] == first
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    a, b = (trace(scene, table, rays, monkeypatch) for rays in (low, high))
    gap = np.abs(a.depth[0] - b.depth[0])
    flat = (table.shape[first] != Shape.SPHERE) & (table.shape[last] != Shape.SPHERE)
    direct = (a.primitive[0] == first) & (b.primitive[0] == last) & flat
    found = passing_gap(scene.camera, hits, table, tuple(p), tuple(q))
    assert direct.sum() > 50
    np.testing.assert_allclose(found[direct], gap[direct], atol=1e-3)
    occluding = found > OCCLUSION_GAP
    assert occluding.sum() > 20 and (~occluding).sum() > 20
    assert edges[tuple(p)][occluding].all() and edges[tuple(q)][occluding].all()


def test_a_ray_along_a_face_still_meets_the_box() -> None:
    """An odd picture has a ray with direction exactly 0 in two axes."""
    scene, table, _ = by_hand(((2.0, 1.2, 2.5), (0.6, 0.6, 0.4)))
    middle = cast(scene, table, 31, 41)
    assert middle.ray[:2, 15, 20].tolist() == [0, 0]
    assert middle.primitive[15, 20] == 6
    assert middle.depth[15, 20] == pytest.approx(1.8)
