"""Segments of a journal as bytes: one event a line, and a last line that seals them."""

from __future__ import annotations

import hashlib
import json

from had_core.errors import BadInput


def to_segment(lines: list[str]) -> bytes:
    """The lines with their count and SHA-256."""
    body = "".join(f"{line}\n" for line in lines).encode()
    seal = {"events": len(lines), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(seal).encode() + b"\n"


def segment_lines(data: bytes, name: str) -> list[str]:
    """The event lines of a segment; BadInput if it is not exactly what was written."""
    body, _, last = data.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    try:
        seal = json.loads(last)
        whole = seal == {"events": body.count(b"\n"), "sha256": hashlib.sha256(body).hexdigest()}
    except ValueError:
        whole = False
    if not whole:
        raise BadInput(f"{name} is incomplete or was changed (its checksum does not match)")
    return body.decode().splitlines()
