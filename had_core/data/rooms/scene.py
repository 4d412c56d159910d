"""What a room is made of. World: metres, x right, y down, z forward; the floor is y = 0.

A scene is a table of primitives: the six inner faces of the room (0 to 5), then boxes that may be
turned about the vertical, and spheres. Boxes of one piece of furniture share an object number.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.rooms.config import CLASSES
from had_core.data.rooms.draw import Vec

Array = NDArray[Any]
SHELL = 6  # the faces of the room: -x, +x, -y (ceiling), +y (floor), -z, +z


class Shape(enum.IntEnum):
    FACE = 0
    BOX = 1
    SPHERE = 2


class Pattern(enum.IntEnum):
    """Textures; see ``textures``."""

    PLAIN = 0
    CHECKER = 1
    STRIPES = 2
    BRICKS = 3
    PLANKS = 4
    FABRIC = 5
    PANELS = 6
    BOOKS = 7
    PICTURE = 8
    PANES = 9


@dataclass(frozen=True)
class Material:
    """A texture between two linear RGB colours; ``scale`` in metres, ``glow`` is emitted light."""

    pattern: Pattern
    first: Vec
    second: Vec
    scale: float = 0.2
    glow: float = 0.0


@dataclass(frozen=True)
class Primitive:
    """A box (``half`` extents) or a sphere (radius ``half[0]``); ``turn`` is (cos, sin)."""

    shape: Shape
    center: Vec
    half: Vec
    turn: tuple[float, float]
    label: str
    thing: int
    material: Material
    casts_shadow: bool = True


@dataclass(frozen=True)
class Camera:
    """Pinhole; rows of ``axes`` are right, down and forward in the world; ``focal`` over width."""

    position: Vec
    axes: tuple[Vec, Vec, Vec]
    focal: float


@dataclass(frozen=True)
class Light:
    """A point light; the first of a scene casts shadows."""

    position: Vec
    color: Vec


@dataclass(frozen=True)
class Frame:
    """Where a piece of furniture stands: its back centre on the floor and its turn."""

    x: float
    z: float
    turn: tuple[float, float] = (1.0, 0.0)

    def world(self, x: float, z: float) -> tuple[float, float]:
        """Floor point ``x`` to the right of and ``z`` in front of the back centre."""
        c, s = self.turn
        return self.x + c * x + s * z, self.z - s * x + c * z

    def moved(self, x: float, z: float) -> Frame:
        return Frame(*self.world(x, z), self.turn)


@dataclass
class Scene:
    """Primitives, camera and lights of one image."""

    size: Vec  # width x, height y, depth z of the room
    camera: Camera
    primitives: list[Primitive] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    _things: int = 0

    def thing(self) -> int:
        """A new object number; 0 is the room."""
        self._things += 1
        return self._things

    def box(
        self,
        frame: Frame,
        at: Vec,
        size: Vec,
        label: str,
        thing: int,
        material: Material,
        casts_shadow: bool = True,
    ) -> None:
        """A box in ``frame``: ``at`` is (right, height of its base, front) of its centre."""
        (right, base, front), (sx, sy, sz) = at, size
        x, z = frame.world(right, front)
        half = (sx / 2, sy / 2, sz / 2)
        center = (x, -(base + sy / 2), z)
        self.primitives.append(
            Primitive(Shape.BOX, center, half, frame.turn, label, thing, material, casts_shadow)
        )

    def sphere(
        self,
        frame: Frame,
        at: Vec,
        radius: float,
        label: str,
        thing: int,
        material: Material,
        casts_shadow: bool = True,
    ) -> None:
        """A sphere in ``frame``: ``at`` is (right, height of its lowest point, front)."""
        right, base, front = at
        x, z = frame.world(right, front)
        center = (x, -(base + radius), z)
        half = (radius, radius, radius)
        self.primitives.append(
            Primitive(Shape.SPHERE, center, half, frame.turn, label, thing, material, casts_shadow)
        )

    def shell(self, walls: Material, ceiling: Material, floor: Material) -> None:
        """The six inner faces; must be added first."""
        w, h, d = self.size
        for label, material in (
            ("wall", walls),
            ("wall", walls),
            ("ceiling", ceiling),
            ("floor", floor),
            ("wall", walls),
            ("wall", walls),
        ):
            self.primitives.append(
                Primitive(
                    Shape.FACE,
                    (w / 2, -h / 2, d / 2),
                    (w / 2, h / 2, d / 2),
                    (1.0, 0.0),
                    label,
                    0,
                    material,
                )
            )


@dataclass(frozen=True)
class Table:
    """The primitives as columns, one row each, for gathering per pixel."""

    shape: Array
    center: Array
    half: Array
    turn: Array
    label: Array
    thing: Array
    pattern: Array
    first: Array
    second: Array
    scale: Array
    glow: Array

    @classmethod
    def of(cls, primitives: Sequence[Primitive]) -> Table:
        materials = [p.material for p in primitives]
        return cls(
            shape=np.array([p.shape for p in primitives], np.int64),
            center=np.array([p.center for p in primitives]),
            half=np.array([p.half for p in primitives]),
            turn=np.array([p.turn for p in primitives]),
            label=np.array([CLASSES.index(p.label) for p in primitives], np.int16),
            thing=np.array([p.thing for p in primitives], np.int64),
            pattern=np.array([m.pattern for m in materials], np.int64),
            first=np.array([m.first for m in materials]),
            second=np.array([m.second for m in materials]),
            scale=np.array([m.scale for m in materials]),
            glow=np.array([m.glow for m in materials]),
        )
