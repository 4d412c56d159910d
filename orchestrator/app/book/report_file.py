"""``had report``: gather, render, write one file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from had_core.canonical import to_plain
from had_core.errors import BadInput
from had_core.paths import expanded

_ENDINGS = {".html": "html", ".htm": "html", ".md": "md", ".tex": "latex", ".parquet": "parquet"}
FORMATS = tuple(dict.fromkeys(_ENDINGS.values()))


@dataclass(frozen=True)
class WrittenReport:
    """Attributes: troubles: what is missing, unfinished or failed, a sentence each."""

    name: str
    kind: str
    state: str
    file: str
    format: str
    bytes: int
    troubles: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def write_report(name: str, root: str, out: Path | None, to: str | None) -> WrittenReport:
    """Write the report of a run.

    Args:
        out: None for ``NAME`` with the format's ending, in the working folder.
        to: one of ``FORMATS``; None for what the file's name ends in.

    Raises:
        BadInput: an unknown run or format, or a file that cannot be written.
    """
    from orchestrator.app.book.reporting import report
    from orchestrator.report.formats import render
    from orchestrator.store.runs import check_name

    to = _format(out, to)
    if out is None:
        check_name(name)  # before a path is made of it
    ending = next(ending for ending, known in _ENDINGS.items() if known == to)
    target = expanded(out or f"{name}{ending}").absolute()
    if target.is_dir():
        raise BadInput(f"--out {target} is a folder: name a file in it")
    if not target.parent.is_dir():
        raise BadInput(f"--out {target} lies in a folder that does not exist: make it first")

    found = report(name, root)
    raw = render(found, to)
    _write(target, raw)
    return WrittenReport(
        found.name, found.kind, found.state, str(target), to, len(raw), found.troubles
    )


def _format(out: Path | None, to: str | None) -> str:
    if to is None:
        known = _ENDINGS.get(out.suffix.lower()) if out else "html"
        if known is None:
            raise BadInput(
                f"--out {out} has no known ending: one of {', '.join(_ENDINGS)}, or name --format"
            )
        return known
    if to not in FORMATS:
        raise BadInput(f"--format {to} is not allowed: one of {', '.join(FORMATS)}")
    return to


def _write(target: Path, raw: bytes) -> None:
    """Beside the target first, so that an old report stays until the new one is whole."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise BadInput(f"--out {target} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        Path(name).chmod(0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise BadInput(f"--out {target} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
