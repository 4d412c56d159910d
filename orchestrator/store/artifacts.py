"""The artefact protocol: seal last, first seal wins, nothing half-written is ever read.

::

    <kind>/<key[:2]>/<key>/data-<nonce>/<files>     1. written and synced
    <kind>/<key[:2]>/<key>/SEAL.json                2. created if absent: now it exists

A writer that dies before 2 leaves a data folder that nothing names; the next winner sweeps it
away. A writer that comes second finds the seal, deletes its own folder and takes the winner's
artefact. A damaged artefact is moved to ``damaged/`` and counts as absent, so it is made again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from had_core.errors import CorruptArtifact
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store.fs import StoreFs, is_safe_name, nonce
from orchestrator.store.seal import (
    DATA_FOLDER,
    SEAL_FILE,
    Damage,
    Seal,
    Sealed,
    SealedFile,
    checked_key,
)

_log = logging.getLogger("orchestrator.store")
_ROUNDS = 20

T = TypeVar("T")
Verify = Callable[[Seal], T]


class Artifacts:
    """Artefacts of every kind below one file system."""

    def __init__(self, fs: StoreFs) -> None:
        self._fs = fs
        self.damaged: list[Damage] = []

    def is_sealed(self, kind: ArtifactKind, key: str) -> bool:
        """Whether it exists, its files have their sizes; their bytes are verified by ``load``."""
        return self.seal_of(kind, key) is not None

    def seal_of(self, kind: ArtifactKind, key: str) -> Seal | None:
        """Seal and manifest alone, without reading the data."""
        found = self._verified(kind, key, self._check_sizes)
        return found[0] if found else None

    def load(self, kind: ArtifactKind, key: str) -> Sealed | None:
        """The artefact with every byte verified; None where it is absent or was damaged."""
        found = self._verified(kind, key, self._read_all)
        return Sealed(*found) if found else None

    def seal(
        self,
        kind: ArtifactKind,
        key: str,
        files: Mapping[str, bytes],
        manifest: Mapping[str, Any],
    ) -> Sealed:
        """Write and seal; returns the winner's artefact where another writer was first.

        Raises:
            ValueError: a file name that is not one safe name, or a manifest JSON cannot hold.
            BadInput: the store cannot be written.
        """
        for name in files:
            if not is_safe_name(name):
                raise ValueError(f"file name '{name}' is not allowed: A-Z a-z 0-9 . _ -")
        for _ in range(_ROUNDS):
            winner = self.load(kind, key) or self._try_to_seal(kind, key, files, manifest)
            if winner is not None:
                self._sweep(winner.seal)
                return winner
        raise CorruptArtifact(f"{kind.value} {key} was damaged {_ROUNDS} times while it was sealed")

    def _try_to_seal(
        self,
        kind: ArtifactKind,
        key: str,
        files: Mapping[str, bytes],
        manifest: Mapping[str, Any],
    ) -> Sealed | None:
        """The sealed artefact if this writer was first and its files are still there, else None."""
        contents = {name: bytes(data) for name, data in files.items()}
        entries = tuple(SealedFile.of(name, data) for name, data in sorted(contents.items()))
        seal = Seal(kind, key, f"data-{nonce()}", entries, manifest)
        raw, folder = seal.to_bytes(), _folder(kind, key)
        for name, data in contents.items():
            self._fs.write(f"{folder}/{seal.folder}/{name}", data)
        if not self._fs.create_if_absent(f"{folder}/{SEAL_FILE}", raw):
            self._fs.delete(f"{folder}/{seal.folder}")
            return None
        # The sweep of a writer whose own seal was set aside meanwhile may have taken the data.
        kept = self.seal_of(kind, key)
        return Sealed(kept, contents) if kept and kept.folder == seal.folder else None

    def _sweep(self, seal: Seal) -> None:
        """Delete what interrupted and beaten writers left beside the seal."""
        folder = _folder(seal.kind, seal.key)
        for name in self._fs.names(folder):
            if name not in (SEAL_FILE, seal.folder):
                self._fs.delete(f"{folder}/{name}")

    def _verified(self, kind: ArtifactKind, key: str, verify: Verify[T]) -> tuple[Seal, T] | None:
        """The seal and what ``verify`` makes of it; damage is set aside and counts as absent."""
        path = f"{_folder(kind, key)}/{SEAL_FILE}"
        for _ in range(_ROUNDS):
            raw = self._raw(path)
            if raw is None:
                return None
            try:
                seal = Seal.from_bytes(raw, kind, key)
                return seal, verify(seal)
            except CorruptArtifact as error:
                # Another process may have replaced the artefact while it was read.
                if self._raw(path) == raw:
                    self._set_aside(kind, key, raw, str(error))
        return None

    def _check_sizes(self, seal: Seal) -> None:
        folder = f"{_folder(seal.kind, seal.key)}/{seal.folder}"
        for file in seal.files:
            size = self._fs.size(f"{folder}/{file.name}")
            if size is None:
                raise CorruptArtifact(f"{file.name} is missing")
            if size != file.size:
                raise CorruptArtifact(f"{file.name} has {size} bytes, {file.size} were sealed")

    def _read_all(self, seal: Seal) -> dict[str, bytes]:
        folder = f"{_folder(seal.kind, seal.key)}/{seal.folder}"
        contents = {}
        for file in seal.files:
            data = self._raw(f"{folder}/{file.name}")
            if data is None:
                raise CorruptArtifact(f"{file.name} is missing")
            file.check(data)
            contents[file.name] = data
        return contents

    def _set_aside(self, kind: ArtifactKind, key: str, raw: bytes, reason: str) -> None:
        """Move a damaged artefact to ``damaged/``, seal first: from then on it is absent."""
        folder, aside = _folder(kind, key), f"damaged/{kind.value}-{key}-{nonce()}"
        if not self._fs.move(f"{folder}/{SEAL_FILE}", f"{aside}/{SEAL_FILE}"):
            return  # another process was first
        moved = self._raw(f"{aside}/{SEAL_FILE}")
        if moved is not None and moved != raw:
            # Not the one that was judged: another process has sealed anew in between.
            self._fs.create_if_absent(f"{folder}/{SEAL_FILE}", moved)
            self._fs.delete(aside)
            return
        for name in self._data_folders(folder, raw):
            self._fs.move(f"{folder}/{name}", f"{aside}/{name}")
        self.damaged.append(Damage(kind, key, reason, aside))
        _log.warning(
            "damaged %s %s (%s): kept in %s/%s, will be made again",
            *(kind.value, key, reason, self._fs.root, aside),
        )

    def _data_folders(self, folder: str, raw: bytes) -> list[str]:
        """The data folder that a damaged seal names, or all where it names none that exists."""
        there = [name for name in self._fs.names(folder) if DATA_FOLDER.fullmatch(name)]
        named = {match.decode() for match in re.findall(rb"data-[0-9a-f]{16}", raw)}
        return [name for name in there if name in named] or there

    def _raw(self, path: str) -> bytes | None:
        try:
            return self._fs.read(path)
        except FileNotFoundError:
            return None


def _folder(kind: ArtifactKind, key: str) -> str:
    return f"{kind.value}/{checked_key(key)[:2]}/{key}"
