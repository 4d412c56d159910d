"""Furniture out of boxes and spheres. Each maker fills a scene and returns nothing.

A maker gets a ``Frame`` (back centre on the floor, z to the front) and its width and depth.
"""

from __future__ import annotations

from had_core.data.rooms.draw import Draw, Vec
from had_core.data.rooms.scene import Frame, Light, Material, Pattern, Scene

WOODS: tuple[Vec, ...] = (
    (0.36, 0.20, 0.10),
    (0.24, 0.13, 0.07),
    (0.52, 0.35, 0.20),
    (0.60, 0.47, 0.32),
    (0.72, 0.70, 0.66),
    (0.10, 0.08, 0.07),
)
FABRICS: tuple[Vec, ...] = (
    (0.45, 0.10, 0.09),
    (0.10, 0.18, 0.38),
    (0.16, 0.30, 0.20),
    (0.50, 0.42, 0.30),
    (0.30, 0.30, 0.33),
    (0.65, 0.60, 0.52),
    (0.42, 0.24, 0.40),
    (0.12, 0.12, 0.14),
)
BRIGHTS: tuple[Vec, ...] = (
    (0.75, 0.10, 0.08),
    (0.85, 0.60, 0.08),
    (0.08, 0.35, 0.65),
    (0.12, 0.55, 0.22),
    (0.80, 0.80, 0.78),
    (0.65, 0.20, 0.50),
)
METAL = Material(Pattern.PLAIN, (0.28, 0.28, 0.30), (0.36, 0.36, 0.38))


def wood(draw: Draw) -> Material:
    base = draw.near(draw.choice(WOODS), 0.25)
    return Material(Pattern.PLANKS, darker(base, 0.7), base, draw.uniform(0.08, 0.2))


def fabric(draw: Draw) -> Material:
    base = draw.near(draw.choice(FABRICS), 0.3)
    other = draw.near(draw.choice(FABRICS), 0.3)
    pattern = draw.choice((Pattern.FABRIC, Pattern.FABRIC, Pattern.STRIPES, Pattern.CHECKER))
    second = darker(base, 1.35) if pattern is Pattern.FABRIC else other
    return Material(pattern, base, second, draw.uniform(0.06, 0.16))


def darker(color: Vec, factor: float) -> Vec:
    r, g, b = (min(1.0, c * factor) for c in color)
    return r, g, b


def bed(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    thing, frame_wood, cover = scene.thing(), wood(draw), fabric(draw)
    height = draw.uniform(0.42, 0.55)
    linen = Material(Pattern.FABRIC, (0.72, 0.71, 0.68), (0.86, 0.85, 0.82), 0.2)
    scene.box(at, (0, 0, 0.04), (width, draw.uniform(0.8, 1.2), 0.08), "bed", thing, frame_wood)
    scene.box(at, (0, 0.05, depth / 2), (width, height - 0.25, depth), "bed", thing, frame_wood)
    scene.box(at, (0, height - 0.2, depth / 2), (width, 0.2, depth), "bed", thing, linen)
    spread = draw.uniform(0.55, 0.75) * depth
    scene.box(
        at,
        (0, height - 0.17, depth - spread / 2 + 0.001),
        (width + 0.002, 0.19, spread),
        "bed",
        thing,
        cover,
    )
    pillows = 2 if width > 1.2 else 1
    for k in range(pillows):
        right = (k - (pillows - 1) / 2) * width / 2
        pillow = (min(0.6, width / pillows - 0.12), 0.13, 0.36)
        scene.box(at, (right, height, 0.32), pillow, "bed", thing, linen)


def sofa(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    thing, cover = scene.thing(), fabric(draw)
    seat, back, arm = draw.uniform(0.38, 0.45), draw.uniform(0.75, 0.95), 0.18
    scene.box(at, (0, 0.06, depth / 2), (width, seat - 0.18, depth), "sofa", thing, cover)
    scene.box(at, (0, 0.06, 0.12), (width, back - 0.06, 0.24), "sofa", thing, cover)
    for side in (-1, 1):
        right = side * (width - arm) / 2
        scene.box(at, (right, 0.06, depth / 2), (arm, 0.54, depth), "sofa", thing, cover)
    seats = max(1, round((width - 2 * arm) / 0.65))
    each = (width - 2 * arm) / seats
    for k in range(seats):
        right = (k - (seats - 1) / 2) * each
        size = (each - 0.02, 0.14, depth - 0.26)
        scene.box(at, (right, seat - 0.12, depth / 2 + 0.13), size, "sofa", thing, cover)
    if draw.chance(0.6):
        right = draw.uniform(-0.3, 0.3) * width
        cushion = (0.4, 0.38, 0.14)
        scene.box(at, (right, seat + 0.02, 0.33), cushion, "sofa", thing, fabric(draw))


def table(
    scene: Scene, draw: Draw, at: Frame, width: float, depth: float, height: float = 0.74
) -> None:
    thing, material = scene.thing(), wood(draw)
    scene.box(at, (0, height - 0.04, depth / 2), (width, 0.04, depth), "table", thing, material)
    leg = draw.uniform(0.05, 0.08)
    for right in (-1, 1):
        for front in (0, 1):
            x, z = right * (width / 2 - leg), leg + front * (depth - 2 * leg)
            scene.box(at, (x, 0, z), (leg, height - 0.04, leg), "table", thing, material)
    clutter(scene, draw, at.moved(0, depth / 2), height, width * 0.7, depth * 0.6)


def desk(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    table(scene, draw, at, width, depth)
    if draw.chance(0.7):
        table_lamp(scene, draw, at.moved(-width / 2 + 0.2, 0.2), 0.74)
    chair(scene, draw, at.moved(draw.uniform(-0.1, 0.1), depth + 0.55), back_to_front=True)


def chair(scene: Scene, draw: Draw, at: Frame, back_to_front: bool = False) -> None:
    """A chair on a 0.45 m square around ``at``; its back to the back, or to the front."""
    thing, material = scene.thing(), wood(draw)
    cushion = fabric(draw) if draw.chance(0.5) else material
    seat, back, size, leg = 0.45, draw.uniform(0.82, 1.0), 0.44, 0.04
    side = 1 if back_to_front else -1
    scene.box(at, (0, seat - 0.05, 0), (size, 0.05, size), "chair", thing, cushion)
    rest = (size, back - seat - 0.12, 0.04)
    scene.box(at, (0, seat + 0.12, side * (size / 2 - 0.02)), rest, "chair", thing, material)
    for right in (-1, 1):
        for front in (-1, 1):
            tall = back if front == side else seat - 0.05
            corner = (right * (size / 2 - leg / 2), 0.0, front * (size / 2 - leg / 2))
            scene.box(at, corner, (leg, tall, leg), "chair", thing, material)


def cabinet(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    """A sideboard or a wardrobe with two doors; low ones carry things."""
    thing = scene.thing()
    tall = draw.chance(0.4)
    height = draw.uniform(1.7, 2.1) if tall else draw.uniform(0.7, 1.0)
    base = draw.near(draw.choice(WOODS), 0.25)
    doors = Material(Pattern.PANELS, base, darker(base, 1.25), 0.3)
    scene.box(at, (0, 0.06, depth / 2), (width, height - 0.06, depth), "cabinet", thing, doors)
    plinth = (width - 0.06, 0.06, depth - 0.06)
    scene.box(at, (0, 0, depth / 2), plinth, "cabinet", thing, METAL)
    if not tall:
        clutter(scene, draw, at.moved(0, depth / 2), height, width * 0.8, depth * 0.5)


def nightstand(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    thing, height = scene.thing(), draw.uniform(0.45, 0.6)
    base = draw.near(draw.choice(WOODS), 0.25)
    drawers = Material(Pattern.PANELS, base, darker(base, 1.25), 0.3)
    scene.box(at, (0, 0, depth / 2), (width, height, depth), "cabinet", thing, drawers)
    table_lamp(scene, draw, at.moved(0, depth / 2), height)


def bookshelf(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    thing, material = scene.thing(), wood(draw)
    height, board = draw.uniform(1.5, 2.1), 0.03
    for side in (-1, 1):
        right = side * (width - board) / 2
        scene.box(at, (right, 0, depth / 2), (board, height, depth), "cabinet", thing, material)
    scene.box(at, (0, 0, 0.01), (width, height, 0.02), "cabinet", thing, material)
    shelves = draw.integer(4, 5)
    step = (height - board) / shelves
    inner = (width - 2 * board, board, depth)
    for k in range(shelves + 1):
        scene.box(at, (0, k * step, depth / 2), inner, "cabinet", thing, material)
    spines = Material(Pattern.BOOKS, (0.3, 0.3, 0.3), (0.5, 0.5, 0.5), 0.05)
    for k in range(shelves):
        if draw.chance(0.8):
            share = draw.uniform(0.4, 0.95)
            room = width - 2 * board
            right = draw.choice((-1, 1)) * room * (1 - share) / 2
            size = (room * share, step * draw.uniform(0.6, 0.8), depth * 0.7)
            row = (right, k * step + board, depth * 0.4)
            scene.box(at, row, size, "objects", scene.thing(), spines, casts_shadow=False)


def table_lamp(scene: Scene, draw: Draw, at: Frame, base: float) -> None:
    thing = scene.thing()
    scene.box(at, (0, base, 0), (0.12, 0.02, 0.12), "lamp", thing, METAL, casts_shadow=False)
    scene.box(at, (0, base, 0), (0.03, 0.26, 0.03), "lamp", thing, METAL, casts_shadow=False)
    shade = _shade(draw)
    scene.sphere(at, (0, base + 0.2, 0), draw.uniform(0.1, 0.14), "lamp", thing, shade, False)


def floor_lamp(scene: Scene, draw: Draw, at: Frame, width: float, depth: float) -> None:
    thing, tall = scene.thing(), draw.uniform(1.35, 1.65)
    middle = depth / 2
    scene.box(at, (0, 0, middle), (0.28, 0.03, 0.28), "lamp", thing, METAL)
    scene.box(at, (0, 0, middle), (0.035, tall, 0.035), "lamp", thing, METAL)
    radius, shade = draw.uniform(0.15, 0.2), _shade(draw)
    scene.sphere(at, (0, tall - 0.1, middle), radius, "lamp", thing, shade, False)
    x, z = at.world(0, middle)
    scene.lights.append(Light((x, -(tall + radius + 0.15), z), (0.5, 0.38, 0.24)))


def ceiling_lamp(scene: Scene, draw: Draw, at: Frame) -> None:
    """A hanging globe; the main light is just below it."""
    thing, height = scene.thing(), scene.size[1]
    radius, drop = draw.uniform(0.14, 0.2), draw.uniform(0.1, 0.35)
    low = height - drop - 2 * radius
    cord = (0.02, drop + radius, 0.02)
    scene.box(at, (0, height - drop - radius, 0), cord, "lamp", thing, METAL, casts_shadow=False)
    scene.sphere(at, (0, low, 0), radius, "lamp", thing, _shade(draw), False)
    power = draw.uniform(1.3, 1.9)
    scene.lights.insert(0, Light((at.x, -(low - 0.02), at.z), (power, 0.95 * power, 0.84 * power)))


def clutter(scene: Scene, draw: Draw, at: Frame, base: float, width: float, depth: float) -> None:
    """A few things lying on a surface of ``width`` x ``depth`` around ``at``."""
    for _ in range(draw.integer(0, 4)):
        spot = (draw.uniform(-0.5, 0.5) * width, base, draw.uniform(-0.5, 0.5) * depth)
        color = draw.near(draw.choice(BRIGHTS), 0.2)
        pattern = draw.choice((Pattern.PLAIN, Pattern.STRIPES, Pattern.CHECKER))
        material = Material(pattern, color, darker(color, 0.55), draw.uniform(0.03, 0.06))
        thing = scene.thing()
        if draw.chance(0.4):
            scene.sphere(at, spot, draw.uniform(0.06, 0.13), "objects", thing, material)
        else:
            size = (draw.uniform(0.1, 0.3), draw.uniform(0.04, 0.3), draw.uniform(0.1, 0.22))
            scene.box(at, spot, size, "objects", thing, material)


def _shade(draw: Draw) -> Material:
    tint: Vec = (1.0, draw.uniform(0.82, 0.95), draw.uniform(0.6, 0.85))
    return Material(Pattern.PLAIN, tint, tint, 0.2, glow=draw.uniform(1.4, 2.4))
