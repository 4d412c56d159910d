"""Furnishing a room: its size and surfaces, the camera, then what stands and hangs where.

Furniture stands against walls or in the middle; floor areas never overlap and stay clear of the
camera, so no ray starts inside a box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from had_core.data.rooms import furniture
from had_core.data.rooms.draw import Draw, Vec, unit
from had_core.data.rooms.scene import Camera, Frame, Light, Material, Pattern, Scene

Maker = Callable[[Scene, Draw, Frame, float, float], None]
Range = tuple[float, float]

WALL_COLORS: tuple[Vec, ...] = (
    (0.72, 0.70, 0.66),
    (0.66, 0.60, 0.48),
    (0.52, 0.60, 0.62),
    (0.62, 0.50, 0.46),
    (0.50, 0.58, 0.46),
    (0.58, 0.56, 0.66),
    (0.70, 0.62, 0.34),
)


@dataclass(frozen=True)
class Piece:
    """Furniture for a wall: its maker and the ranges of width and depth in metres."""

    make: Maker
    width: Range
    depth: Range


BED = Piece(furniture.bed, (1.0, 1.8), (1.95, 2.1))
SOFA = Piece(furniture.sofa, (1.5, 2.3), (0.8, 0.95))
ARMCHAIR = Piece(furniture.sofa, (0.85, 1.0), (0.8, 0.9))
CABINET = Piece(furniture.cabinet, (0.8, 1.6), (0.4, 0.6))
NIGHTSTAND = Piece(furniture.nightstand, (0.4, 0.5), (0.35, 0.45))
SHELF = Piece(furniture.bookshelf, (0.7, 1.3), (0.26, 0.34))
DESK = Piece(furniture.desk, (1.1, 1.5), (0.6, 0.75))
LAMP = Piece(furniture.floor_lamp, (0.3, 0.3), (0.35, 0.35))

# What stands against the walls, in order of importance, and how likely a table is in the middle.
ROOMS: tuple[tuple[tuple[Piece, ...], float], ...] = (
    ((BED, CABINET, NIGHTSTAND, NIGHTSTAND, DESK, LAMP), 0.1),
    ((SOFA, SHELF, CABINET, ARMCHAIR, LAMP, SOFA), 0.7),
    ((CABINET, SHELF, CABINET, LAMP), 1.0),
    ((DESK, SHELF, SHELF, CABINET, ARMCHAIR, LAMP), 0.3),
)


@dataclass
class Plan:
    """Floor areas and stretches of wall that are taken."""

    rectangles: list[tuple[float, float, float, float]] = field(default_factory=list)
    stretches: list[tuple[int, float, float]] = field(default_factory=list)

    def take(self, x0: float, z0: float, x1: float, z1: float) -> bool:
        """Take a floor area if it is free."""
        free = all(x1 <= a or x0 >= c or z1 <= b or z0 >= d for a, b, c, d in self.rectangles)
        if free:
            self.rectangles.append((x0, z0, x1, z1))
        return free

    def take_wall(self, wall: int, start: float, stop: float) -> bool:
        """Take a stretch of a wall for something that hangs there."""
        free = all(w != wall or stop <= a or start >= b for w, a, b in self.stretches)
        if free:
            self.stretches.append((wall, start, stop))
        return free


def furnish(seed: int) -> Scene:
    """The scene decided by ``seed``."""
    draw, plan = Draw(seed), Plan()
    size = (draw.uniform(2.9, 4.8), draw.uniform(2.4, 2.8), draw.uniform(3.2, 5.2))
    scene = Scene(size, _camera(draw, size, plan))
    scene.shell(*_surfaces(draw))
    pieces, table_chance = draw.choice(ROOMS)
    middle = Frame(
        size[0] * draw.uniform(0.42, 0.58), size[2] * draw.uniform(0.42, 0.58), draw.turn(0.12)
    )
    furniture.ceiling_lamp(scene, draw, middle)
    if draw.chance(table_chance):
        _table_in_the_middle(scene, draw, plan, middle)
    for piece in pieces:
        if draw.chance(0.85):
            _against_a_wall(scene, draw, plan, piece)
    _on_the_walls(scene, draw, plan)
    _on_the_floor(scene, draw, plan, middle)
    return scene


def _surfaces(draw: Draw) -> tuple[Material, Material, Material]:
    """Materials of walls, ceiling and floor."""
    paint = draw.near(draw.choice(WALL_COLORS), 0.18)
    kind = draw.choice(
        (Pattern.PLAIN, Pattern.PLAIN, Pattern.FABRIC, Pattern.STRIPES, Pattern.BRICKS)
    )
    scale = {Pattern.STRIPES: draw.uniform(0.12, 0.3), Pattern.BRICKS: draw.uniform(0.09, 0.14)}
    contrast = {Pattern.STRIPES: 0.85, Pattern.BRICKS: 1.45}.get(kind, 1.1)
    base = (0.40, 0.22, 0.16) if kind is Pattern.BRICKS and draw.chance(0.5) else paint
    walls = Material(kind, base, furniture.darker(base, contrast), scale.get(kind, 0.4))
    white = draw.near((0.80, 0.79, 0.77), 0.06)
    ceiling = Material(Pattern.PLAIN, white, furniture.darker(white, 0.94), 0.5)
    return walls, ceiling, _floor(draw)


def _floor(draw: Draw) -> Material:
    kind = draw.choice((Pattern.PLANKS, Pattern.PLANKS, Pattern.CHECKER, Pattern.FABRIC))
    if kind is Pattern.PLANKS:
        base = draw.near(draw.choice(furniture.WOODS[:5]), 0.2)
        return Material(kind, furniture.darker(base, 0.6), base, draw.uniform(0.11, 0.2))
    if kind is Pattern.CHECKER:
        base = draw.near((0.62, 0.60, 0.55), 0.2)
        return Material(
            kind, furniture.darker(base, draw.uniform(0.3, 0.8)), base, draw.uniform(0.25, 0.5)
        )
    base = draw.near(draw.choice(furniture.FABRICS), 0.2)
    return Material(kind, base, furniture.darker(base, 1.3), 0.3)


def _camera(draw: Draw, size: Vec, plan: Plan) -> Camera:
    """Near a wall or a corner, at eye height, looking across the room and a little down."""
    width, height, deep = size
    side, end = draw.chance(0.5), draw.chance(0.5)
    away_x, away_z = draw.uniform(0.35, 0.42 * width), draw.uniform(0.3, 0.7)
    x = width - away_x if side else away_x
    z = deep - away_z if end else away_z
    y = -draw.uniform(1.15, min(1.75, height - 0.6))
    target = (
        width * draw.uniform(0.3, 0.7),
        -draw.uniform(0.3, 1.3),
        deep * (draw.uniform(0.15, 0.45) if end else draw.uniform(0.55, 0.85)),
    )
    forward = unit((target[0] - x, target[1] - y, target[2] - z))
    right = unit((forward[2], 0.0, -forward[0]))
    down = _cross(forward, right)
    c, s = draw.turn(0.025)
    right, down = (
        unit(_sum(right, c, down, s)),
        unit(_sum(down, c, right, -s)),
    )
    for reach in (0.0, 0.5):
        px, pz = x + reach * forward[0], z + reach * forward[2]
        plan.rectangles.append((px - 0.5, pz - 0.5, px + 0.5, pz + 0.5))
    return Camera((x, y, z), (right, down, forward), 0.5 / draw.uniform(0.58, 0.76))


def _against_a_wall(scene: Scene, draw: Draw, plan: Plan, piece: Piece) -> None:
    """Try a few places; a piece that fits nowhere stays out."""
    for _ in range(8):
        wall = draw.integer(0, 3)
        width, depth = draw.uniform(*piece.width), draw.uniform(*piece.depth)
        length = scene.size[2] if wall < 2 else scene.size[0]
        if length < width + 0.1:
            continue
        along = draw.uniform(width / 2 + 0.02, length - width / 2 - 0.02)
        frame = wall_frame(scene.size, wall, along, 0.01)
        needs = depth + (0.85 if piece is DESK else 0.1)
        if plan.take(*_footprint(frame, width + 0.06, needs)):
            piece.make(scene, draw, frame, width, depth)
            return


def wall_frame(size: Vec, wall: int, along: float, gap: float) -> Frame:
    """Back to wall 0 (x = 0), 1 (x = width), 2 (z = 0) or 3 (z = depth), ``gap`` in front."""
    width, _, deep = size
    return (
        Frame(gap, along, (0.0, 1.0)),
        Frame(width - gap, along, (0.0, -1.0)),
        Frame(along, gap, (1.0, 0.0)),
        Frame(along, deep - gap, (-1.0, 0.0)),
    )[wall]


def _footprint(frame: Frame, width: float, depth: float) -> tuple[float, float, float, float]:
    corners = [frame.world(side * width / 2, z) for side in (-1, 1) for z in (0.0, depth)]
    xs, zs = [x for x, _ in corners], [z for _, z in corners]
    return min(xs), min(zs), max(xs), max(zs)


def _table_in_the_middle(scene: Scene, draw: Draw, plan: Plan, middle: Frame) -> None:
    """A dining table with chairs, or a low table."""
    low = draw.chance(0.4)
    width, depth = draw.uniform(0.9, 1.5), draw.uniform(0.6, 0.9)
    around = 0.1 if low else 0.6
    corner = middle.moved(0, -depth / 2)
    area = middle.moved(0, -depth / 2 - around)
    if not plan.take(*_footprint(area, width + 0.2, depth + 2 * around)):
        return
    furniture.table(scene, draw, corner, width, depth, draw.uniform(0.36, 0.45) if low else 0.75)
    if low:
        return
    for side in (-1, 1):
        for k in range(2):
            if draw.chance(0.8):
                right = (k - 0.5) * width / 2 + draw.uniform(-0.05, 0.05)
                front = side * (depth / 2 + draw.uniform(0.05, 0.3))
                furniture.chair(scene, draw, middle.moved(right, front), side > 0)


def _on_the_walls(scene: Scene, draw: Draw, plan: Plan) -> None:
    """A window or two, a door, some pictures."""
    hung = ["window"] * draw.integer(1, 2) + ["door"] + ["picture"] * draw.integer(1, 5)
    for label in hung:
        for _ in range(4):
            if _hang(scene, draw, plan, label):
                break


def _hang(scene: Scene, draw: Draw, plan: Plan, label: str) -> bool:
    wall, height = draw.integer(0, 3), scene.size[1]
    length = scene.size[2] if wall < 2 else scene.size[0]
    if label == "window":
        width, tall = draw.uniform(0.9, 1.8), draw.uniform(0.9, 1.3)
        base, thick = height - tall - draw.uniform(0.25, 0.4), 0.04
        frame_color: Vec = (0.82, 0.82, 0.80)
        sky = draw.near((0.62, 0.76, 0.95), 0.15)
        material = Material(Pattern.PANES, frame_color, sky, 0.1, glow=draw.uniform(0.3, 1.0))
    elif label == "door":
        width, tall, base, thick = draw.uniform(0.8, 0.95), 2.02, 0.0, 0.02
        paint = draw.near(draw.choice(furniture.WOODS), 0.2)
        material = Material(Pattern.PANELS, paint, furniture.darker(paint, 1.15), 0.3)
    else:
        width, tall = draw.uniform(0.3, 0.9), draw.uniform(0.3, 0.7)
        base, thick = draw.uniform(1.35, 1.6), 0.03
        edge = draw.near(draw.choice(furniture.WOODS), 0.2)
        material = Material(Pattern.PICTURE, edge, edge, 0.05)
    along = draw.uniform(width / 2 + 0.1, length - width / 2 - 0.1)
    if not plan.take_wall(wall, along - width / 2 - 0.08, along + width / 2 + 0.08):
        return False
    frame = wall_frame(scene.size, wall, along, 0.0)
    if label == "door" and not plan.take(*_footprint(frame, width, 0.5)):
        return False
    at, size = (0.0, base, thick / 2), (width, tall, thick)
    scene.box(frame, at, size, label, scene.thing(), material, casts_shadow=False)
    if label == "window":
        x, z = frame.world(0.0, 0.25)
        scene.lights.append(Light((x, -(base + tall / 2), z), (0.40, 0.46, 0.56)))
    return True


def _on_the_floor(scene: Scene, draw: Draw, plan: Plan, middle: Frame) -> None:
    """Perhaps a rug under everything, and a few things lying about."""
    width, _, deep = scene.size
    if draw.chance(0.55):
        rug = furniture.fabric(draw)
        size = (min(2.4, width * 0.55), 0.001, min(1.8, deep * 0.4))
        scene.box(middle, (0, 0, 0), size, "floor", scene.thing(), rug, casts_shadow=False)
    for _ in range(draw.integer(1, 5)):
        x, z = draw.uniform(0.3, width - 0.3), draw.uniform(0.3, deep - 0.3)
        if plan.take(x - 0.18, z - 0.18, x + 0.18, z + 0.18):
            _thing(scene, draw, Frame(x, z, draw.turn()))


def _thing(scene: Scene, draw: Draw, at: Frame) -> None:
    """A ball or a box."""
    color = draw.near(draw.choice(furniture.BRIGHTS), 0.2)
    pattern = draw.choice((Pattern.STRIPES, Pattern.CHECKER, Pattern.PLAIN))
    material = Material(pattern, color, furniture.darker(color, 0.5), draw.uniform(0.05, 0.1))
    if draw.chance(0.5):
        ball = draw.uniform(0.1, 0.17)
        scene.sphere(at, (0, 0, 0), ball, "objects", scene.thing(), material)
        return
    size = (draw.uniform(0.15, 0.34), draw.uniform(0.15, 0.4), draw.uniform(0.15, 0.34))
    scene.box(at, (0, 0, 0), size, "objects", scene.thing(), material)


def _cross(a: Vec, b: Vec) -> Vec:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def _sum(a: Vec, p: float, b: Vec, q: float) -> Vec:
    return a[0] * p + b[0] * q, a[1] * p + b[1] * q, a[2] * p + b[2] * q
