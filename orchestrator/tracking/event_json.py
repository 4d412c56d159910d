"""Events as lines of JSON, and back."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from had_core.decode import decode_dataclass
from had_core.errors import BadInput
from orchestrator.tracking.events import EVENTS, Event


def to_json(event: Event) -> str:
    """One line of JSON; mappings keep their order, so that the headline metric stays first.

    Raises TypeError for a value that JSON does not have.
    """
    fields = {"event": type(event).__name__, **vars(event)}
    try:
        return _ENCODER.encode(fields)
    except ValueError:  # a float that is not finite; rare, so the common case pays nothing for it
        return _ENCODER.encode(_finite(fields))


def starts(kinds: Iterable[type[Event]]) -> tuple[str, ...]:
    """How lines of these kinds begin; of any kind where none is named."""
    return tuple(f'{{"event":"{kind.__name__}",' for kind in kinds) or ("",)


def from_json(line: str | bytes, where: str = "event") -> Event:
    """The event of one line; raises BadInput naming ``where`` and what is wrong."""
    try:
        raw = json.loads(line)
    except ValueError:
        raise BadInput(f"{where} is not valid JSON") from None
    name = raw.pop("event", None) if isinstance(raw, dict) else None
    if not isinstance(name, str) or name not in EVENTS:
        allowed = ", ".join(EVENTS)
        raise BadInput(f"{where} has the event type {name!r}, allowed are {allowed}")
    return decode_dataclass(EVENTS[name], raw, where)


def _plain(value: Any) -> Any:
    """What the JSON encoder does not know by itself, one level deep."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain)


def _finite(value: Any) -> Any:
    """The same value with every float that is not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _finite(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
