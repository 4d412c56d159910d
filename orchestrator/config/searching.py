"""The search section: from the nested tree of YAML to dimensions by dotted path, and its checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain
from had_core.configs import require
from had_core.decode import decode
from had_core.errors import BadInput
from orchestrator.config.params import value_at, with_params
from orchestrator.search.settings import (
    Choice,
    Dimension,
    FloatRange,
    IntRange,
    Sampler,
    SearchConfig,
)

if TYPE_CHECKING:
    from orchestrator.config.schema import RunConfig

_SPACE = "search.space"


@dataclasses.dataclass(frozen=True)
class _FloatRange:
    """A range as it is written."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    per_task: bool = False


@dataclasses.dataclass(frozen=True)
class _IntRange:
    low: int
    high: int
    log: bool = False
    step: int | None = None
    per_task: bool = False


def search_of(raw: Any, config: RunConfig) -> SearchConfig:
    """The section over a run that is whole but for it.

    Raises:
        BadInput: one sentence that names the key (``search.space.method.lambda``) and what is
            allowed.
    """
    if not isinstance(raw, Mapping):
        raise BadInput(f"search={raw} is not allowed: an option of the group, or null")
    values = dict(raw)
    space = _space(values.get("space"), config)
    if values.get("trials") is None and values.get("sampler") == Sampler.GRID.value:
        values["trials"] = _points(space)
    return decode(SearchConfig, {**values, "space": to_plain(space)}, at="search")


def check_search(config: RunConfig) -> None:
    """Whether every trial that ``config.search`` may ask for can be run and scored.

    Raises:
        BadInput: as ``search_of``.
    """
    search = config.search
    if search is None:
        return
    require(
        config.slicing.val_fraction > 0,
        "data.val_fraction",
        config.slicing.val_fraction,
        "above 0 for a search, which scores on the validation part and never on the test set",
    )
    require(
        config.reference is not None,
        "reference",
        "null",
        "a method such as naive, which a search scores every setting against",
    )
    plain = dataclasses.replace(config, search=None)
    for path, dimension in search.space.items():
        at = f"{_SPACE}.{path}"
        _check_kind(value_at(config, path, at=f"{_SPACE}."), dimension, at)
        for corner in dimension.corners:
            try:
                with_params(plain, {path: corner})
            except BadInput as error:
                raise BadInput(f"{at} reaches what the settings refuse: {error}") from None
    for number in (0, -1):
        params = {path: dimension.corners[number] for path, dimension in search.space.items()}
        with_params(plain, params)


def _points(space: Mapping[str, Dimension]) -> int:
    """Of a grid; 1 where there is no end of them, which the settings then refuse."""
    count = 1
    for dimension in space.values():
        points = dimension.points
        count *= 1 if points is None else len(points)
    return count


def _space(raw: Any, config: RunConfig) -> dict[str, Dimension]:
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        raise BadInput(f"{_SPACE}={raw} is not allowed: a mapping, nested as the settings are")
    space = dict(_dimensions(raw, "", config))
    for path, dimension in space.items():
        dimension.check(f"{_SPACE}.{path}")
    return space


def _dimensions(
    raw: Mapping[str, Any], path: str, config: RunConfig
) -> Iterator[tuple[str, Dimension]]:
    for name, value in raw.items():
        inner = f"{path}.{name}" if path else str(name)
        at = f"{_SPACE}.{inner}"
        if value is None:  # taken out of the space of an option
            continue
        if isinstance(value, list):
            value_at(config, inner, at=f"{_SPACE}.")
            yield inner, decode(Choice, {"values": value}, at=at)
        elif not isinstance(value, Mapping):
            raise BadInput(f"{at}={value} is not allowed: a list, or a mapping with low and high")
        elif "low" in value or "high" in value:
            yield from _range(value, inner, at, config)
        else:
            yield from _dimensions(value, inner, config)


def _range(
    raw: Mapping[str, Any], path: str, at: str, config: RunConfig
) -> Iterator[tuple[str, Dimension]]:
    base = value_at(config, path, at=f"{_SPACE}.")
    per_task = raw.get("per_task") is True
    if isinstance(base, Mapping) and per_task and base:
        base = next(iter(base.values()))
    if type(base) not in (int, float):
        raise BadInput(
            f"{at}={dict(raw)} is not allowed: a list of choices, because {path} is no number"
        )
    dimension: FloatRange | IntRange
    if type(base) is int:
        whole = decode(_IntRange, raw, at=at)
        dimension = IntRange(whole.low, whole.high, whole.log, whole.step)
    else:
        real = decode(_FloatRange, raw, at=at)
        dimension = FloatRange(real.low, real.high, real.log, real.step)
    if not per_task:
        yield path, dimension
        return
    for task in _old_tasks(config):
        yield f"{path}.{task}", dimension


def _old_tasks(config: RunConfig) -> tuple[str, ...]:
    """Those that are old at some stage: a task that is last in every order never is."""
    return tuple(task for task in config.tasks if any(order[-1] != task for order in config.orders))


def _check_kind(base: Any, dimension: Dimension, at: str) -> None:
    """A range needs a number of its kind, whole or not."""
    if isinstance(dimension, Choice):
        return
    kind = int if isinstance(dimension, IntRange) else float
    require(type(base) is kind, at, "a range", "a list of choices, or a range of the right kind")
