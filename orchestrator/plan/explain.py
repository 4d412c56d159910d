"""Why two stages have different keys: the first ancestor that differs, and its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain
from orchestrator.plan.specs import FitSpec

ABSENT = "(absent)"


@dataclass(frozen=True)
class FieldDifference:
    """One field of a key: its dotted path (``train.lr``) and both values.

    A field that has no effect on one side is not in that side's key; it reads ``(absent)``.
    """

    field: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.left)} -> {_shown(self.right)}"


@dataclass(frozen=True)
class Level:
    """One generation where the two lineages differ by more than their parents.

    Attributes:
        depth: 1-based, from fresh weights down.
        left, right: keys of the two ancestors (or of the stages themselves); None where that
            lineage is shorter.
        fields: what differs, the parents' keys aside.
    """

    depth: int
    left: str | None
    right: str | None
    fields: tuple[FieldDifference, ...]


@dataclass(frozen=True)
class Explanation:
    """The difference of two stages; ``levels`` is empty when they are the same."""

    left: str
    right: str
    levels: tuple[Level, ...]

    @property
    def same(self) -> bool:
        return self.left == self.right

    @property
    def first(self) -> Level | None:
        """The oldest generation that differs; everything below it differs because of it too."""
        return self.levels[0] if self.levels else None

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain

    def __str__(self) -> str:
        if self.first is None:
            return f"same stage {self.left[:8]}"
        lines = [
            f"stages {self.left[:8]} and {self.right[:8]} differ first at depth {self.first.depth}:"
        ]
        for level in self.levels:
            mine, other = (key[:8] if key else "none" for key in (level.left, level.right))
            lines.append(f"  depth {level.depth} ({mine} / {other})")
            lines += [f"    {difference}" for difference in level.fields]
        return "\n".join(lines)


def explain(left: FitSpec, right: FitSpec) -> Explanation:
    """Compare two stages generation by generation, oldest first."""
    mine, others = left.lineage(), right.lineage()
    levels = []
    for k in range(max(len(mine), len(others))):
        a = mine[k] if k < len(mine) else None
        b = others[k] if k < len(others) else None
        level = _level(k + 1, a, b)
        if level is not None:
            levels.append(level)
    return Explanation(left.key, right.key, tuple(levels))


def _level(depth: int, left: FitSpec | None, right: FitSpec | None) -> Level | None:
    if left is not None and right is not None and left.key == right.key:
        return None
    fields = tuple(_differences(_own(left), _own(right)))
    if not fields:  # differs through its parent alone
        return None
    return Level(depth, left.key if left else None, right.key if right else None, fields)


def _own(spec: FitSpec | None) -> dict[str, Any]:
    """Its key fields without the parent's key; what a memory is made of instead of its key."""
    if spec is None:
        return {}
    fields = spec.key_fields()
    del fields["parent"], fields["parent_memory"]
    if spec.parent_memory is not None:
        memory = spec.parent_memory
        method = {"name": memory.method.name, **to_plain(memory.method, for_key=True)}
        fields["parent_memory"] = {"version": memory.version, "method": method}
    return fields


def _differences(left: Any, right: Any, path: str = "") -> Iterator[FieldDifference]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for name in sorted({*left, *right}):
            inner = f"{path}.{name}" if path else name
            yield from _differences(left.get(name, ABSENT), right.get(name, ABSENT), inner)
    elif type(left) is not type(right) or left != right:
        yield FieldDifference(path, left, right)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
