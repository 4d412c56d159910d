"""Small JSON files that know their own digest: seals, progress pointers, run records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from had_core.canonical import digest, digest_plain, to_plain
from had_core.errors import CorruptArtifact


def to_bytes(body: Mapping[str, Any]) -> bytes:
    """Readable JSON: the body beside the SHA-256 of its canonical form.

    Raises ValueError or TypeError for what JSON cannot hold (NaN, infinity, objects).
    """
    plain = to_plain(body)
    text = json.dumps({"body": plain, "sha256": digest_plain(plain)}, indent=1, allow_nan=False)
    return text.encode("utf-8")


def from_bytes(raw: bytes) -> dict[str, Any]:
    """The body; raises CorruptArtifact where it is not what was written."""
    try:
        record = json.loads(raw.decode("utf-8"))
        body, expected = record["body"], record["sha256"]
        # The first is fast; the second takes records that another writer formatted.
        intact = isinstance(body, dict) and (
            digest_plain(body) == expected or digest(body) == expected
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptArtifact(f"not a record: {type(error).__name__}") from error
    if not intact:
        raise CorruptArtifact("the record does not match its own SHA-256")
    return dict(body)
