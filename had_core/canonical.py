"""Canonical JSON, digests and seeds: the one place that turns values into identities.

Every key, fingerprint and seed in the project comes from here, so that the same value gives the
same digest on every machine and Python version.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

# Below it every whole number is a float of its own.
_EXACT_INTEGERS = 2**53

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def to_plain(value: Any, *, for_key: bool = False) -> Any:
    """Dataclasses, enums, tuples and mappings as plain JSON values.

    With ``for_key`` the dataclass fields whose metadata says ``key=False`` are left out: they are
    recorded, but do not decide a result. A field may carry another outside name in
    ``metadata['name']`` (``lambda`` is a Python keyword). Floats that are whole numbers become
    integers, as in RFC 8785, so that ``lambda=3`` and ``lambda=3.0`` are one value.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.metadata.get("name", f.name): to_plain(getattr(value, f.name), for_key=for_key)
            for f in dataclasses.fields(value)
            if not (for_key and f.metadata.get("key") is False)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): to_plain(v, for_key=for_key) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, for_key=for_key) for v in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no canonical form")
        return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGERS else value
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form")


def canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, ASCII, shortest round-trip floats; NaN and infinity are refused."""
    return _ENCODER.encode(to_plain(value))


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, 64 hexadecimal digits."""
    return digest_text(canonical_json(value))


def digest_plain(value: Json) -> str:
    """``digest`` of what ``to_plain`` made, without making it again; three times as fast."""
    return digest_text(_ENCODER.encode(value))


def digest_text(text: str) -> str:
    """``digest`` of a value whose canonical JSON is known already."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def derive_seed(*parts: Any) -> int:
    """A 63-bit seed from values; different purposes give independent streams.

    >>> derive_seed(0, "batches", ["depth"]) == derive_seed(0, "batches", ["depth"])
    True
    """
    return int(digest(list(parts))[:16], 16) >> 1
