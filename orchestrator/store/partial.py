"""Progress inside a fit: the state after each epoch, the last two kept.

::

    partial/<key[:2]>/<key>/progress-<nonce>.bin     1. written
    partial/<key[:2]>/<key>/000007.json              2. created: names file, size, SHA-256, meta
                                                     3. everything older than 000006 is deleted

Reading takes the newest pointer whose file verifies, so a writer may die anywhere, and one damaged
file costs one epoch. Short epochs are not all synced, which would cost more than a tenth of them:
a power cut may take what was trained in the last seconds before it; a killed process loses nothing.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from had_core.decode import decode
from had_core.errors import BadInput, CorruptArtifact
from orchestrator.store import records
from orchestrator.store.fs import StoreFs, nonce
from orchestrator.store.seal import SealedFile, checked_key

_log = logging.getLogger("orchestrator.store")
_POINTER = re.compile(r"(\d{6,})\.json")
_DATA = re.compile(r"progress-[0-9a-f]{16}\.bin")
_KEPT = 2
_SYNC_EVERY_S = 20.0  # the most that a power cut may take


@dataclass(frozen=True)
class _Pointer:
    file: SealedFile
    meta: Mapping[str, Any]


class Partial:
    """The progress of one fit."""

    def __init__(self, fs: StoreFs, fit_key: str) -> None:
        self._fs, self._key = fs, checked_key(fit_key)
        self._folder = f"partial/{fit_key[:2]}/{fit_key}"
        self._synced_s = time.monotonic()

    def write(self, data: bytes, meta: Mapping[str, Any]) -> None:
        """Add a state; the one before stays until this one is complete, and as its reserve.

        Raises ValueError for meta that JSON cannot hold, BadInput where the store is not writable.
        """
        file = SealedFile.of(f"progress-{nonce()}.bin", data)
        pointer = records.to_bytes({"file": file, "meta": meta})
        durable = time.monotonic() - self._synced_s >= _SYNC_EVERY_S
        number = max(self._numbers(), default=0) + 1
        self._fs.write(f"{self._folder}/{file.name}", data, durable=durable)
        path = f"{self._folder}/{_named(number)}"
        while not self._fs.create_if_absent(path, pointer, durable=durable):
            number += 1  # another writer of the same fit took it
            path = f"{self._folder}/{_named(number)}"
        if durable:
            self._synced_s = time.monotonic()
        self._sweep()

    def read(self) -> tuple[bytes, dict[str, Any]] | None:
        """The newest state that verifies, and its meta; None where there is none."""
        for number in reversed(self._numbers()):
            try:
                return self._read(number)
            except CorruptArtifact as error:
                _log.warning(
                    "damaged progress %d of fit %s (%s): falling back to the one before",
                    *(number, self._key, error),
                )
        return None

    def clear(self) -> None:
        """Delete everything; the fit is sealed or given up."""
        self._fs.delete(self._folder)

    def _read(self, number: int) -> tuple[bytes, dict[str, Any]]:
        pointer = self._pointer(number)
        try:
            data = self._fs.read(f"{self._folder}/{pointer.file.name}")
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{pointer.file.name} is missing") from error
        pointer.file.check(data)
        return data, dict(pointer.meta)

    def _pointer(self, number: int) -> _Pointer:
        name = _named(number)
        try:
            body = records.from_bytes(self._fs.read(f"{self._folder}/{name}"))
            pointer = decode(_Pointer, body, at=name)
        except (FileNotFoundError, CorruptArtifact, BadInput) as error:
            raise CorruptArtifact(f"{name}: {error}") from error
        if not _DATA.fullmatch(pointer.file.name):
            raise CorruptArtifact(f"{name} names a file outside its folder")
        return pointer

    def _numbers(self) -> list[int]:
        """Numbers of the pointers, ascending."""
        found = (_POINTER.fullmatch(name) for name in self._fs.names(self._folder))
        return sorted(int(match[1]) for match in found if match)

    def _sweep(self) -> None:
        """Keep the last states with their files, delete the rest."""
        keep = set()
        for number in self._numbers()[-_KEPT:]:
            keep.add(_named(number))
            try:
                keep.add(self._pointer(number).file.name)
            except CorruptArtifact:
                continue  # ``read`` names it
        # Pointers before the data they name.
        for name in sorted(self._fs.names(self._folder)):
            if name not in keep:
                self._fs.delete(f"{self._folder}/{name}")


def _named(number: int) -> str:
    return f"{number:06d}.json"
