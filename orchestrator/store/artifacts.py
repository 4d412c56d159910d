"""The artefact protocol: seal last, first seal wins, nothing half-written is ever read.

::

    <kind>/<key[:2]>/<key>/data-<nonce>/<files>     1. written and synced
    <kind>/<key[:2]>/<key>/SEAL.json                2. created if absent: now it exists

A writer that dies before 2 leaves a data folder that nothing names; the next winner sweeps it
away. A writer that comes second finds the seal, takes the winner's artefact and sweeps its own
folder away.

Neither a seal nor its data ever changes, so damage is a lasting fact. Whoever finds it moves the
data to ``damaged/`` and then creates the mark ``DAMAGED-0.json``; from then on the artefact is
absent, and the next writer seals generation 1 as ``SEAL-1.json``. No live name is ever renamed
or used twice, so processes that find the same damage at different times cannot hit the new one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from had_core.errors import BadInput, CorruptArtifact
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import records
from orchestrator.store.fs import StoreFs, is_safe_name, is_temporary, nonce
from orchestrator.store.seal import (
    DATA_FOLDER,
    SEAL_FILE,
    Damage,
    Seal,
    Sealed,
    SealedFile,
    checked_key,
    is_key,
)

_log = logging.getLogger("orchestrator.store")
_ROUNDS = 20

T = TypeVar("T")
Verify = Callable[[Seal], T]

_NAMED_FOLDER = re.compile(rb"data-[0-9a-f]{16}")


@dataclass(frozen=True)
class Generation:
    """How often an artefact was made; above 0 only where it was damaged before.

    Attributes:
        sealed: whether its seal is there.
    """

    number: int
    sealed: bool = False

    @property
    def seal_file(self) -> str:
        return f"SEAL-{self.number}.json" if self.number else SEAL_FILE


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

    def read(self, kind: ArtifactKind, key: str, name: str) -> bytes | None:
        """One file, verified; None where the artefact or the file is absent or was damaged."""
        found = self._verified(kind, key, lambda seal: self._read_all(seal, name))
        return found[1].get(name) if found else None

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
                self._sweep(kind, key)
                return winner
        raise CorruptArtifact(f"{kind.value} {key} was damaged {_ROUNDS} times while it was sealed")

    def keys(self, kind: ArtifactKind, prefix: str = "") -> list[str]:
        """Sealed keys that begin with ``prefix``, sorted."""
        shards = [prefix[:2]] if len(prefix) >= 2 else self._fs.names(kind.value)
        found = []
        for shard in shards:
            for key in self._fs.names(f"{kind.value}/{shard}"):
                if key.startswith(prefix) and is_key(key) and self._generation(kind, key).sealed:
                    found.append(key)
        return found

    def _try_to_seal(
        self,
        kind: ArtifactKind,
        key: str,
        files: Mapping[str, bytes],
        manifest: Mapping[str, Any],
    ) -> Sealed | None:
        """The sealed artefact if this writer was first, else None."""
        # The generation is fixed before the data: a folder is only ever sealed under it.
        folder, generation = _folder(kind, key), self._generation(kind, key)
        contents = {name: bytes(data) for name, data in files.items()}
        entries = tuple(SealedFile.of(name, data) for name, data in sorted(contents.items()))
        seal = Seal(kind, key, f"data-{nonce()}", entries, manifest)
        raw = seal.to_bytes()
        for name, data in contents.items():
            self._fs.write(f"{folder}/{seal.folder}/{name}", data)
        if not self._fs.create_if_absent(f"{folder}/{generation.seal_file}", raw):
            return None  # the data is swept with the other strays
        # What JSON made of the manifest, as every later reader gets it.
        return Sealed(Seal.from_bytes(raw, kind, key), contents)

    def _sweep(self, kind: ArtifactKind, key: str) -> None:
        """Remove what interrupted and beaten writers left beside the seal.

        Listed first, judged second: whatever was there while this generation was alive belongs to
        a writer that this generation has beaten.
        """
        folder = _folder(kind, key)
        names = self._fs.names(folder)
        generation = self._generation(kind, key)
        if not generation.sealed:
            return
        try:
            raw = self._fs.read(f"{folder}/{generation.seal_file}")
            alive = Seal.from_bytes(raw, kind, key).folder
        except CorruptArtifact:
            return  # the next reader sets it aside
        for name in names:
            if is_temporary(name) or (DATA_FOLDER.fullmatch(name) and name != alive):
                self._fs.delete(f"{folder}/{name}")

    def _generation(self, kind: ArtifactKind, key: str) -> Generation:
        """The first generation that is not marked as damaged."""
        names = self._fs.names(_folder(kind, key))
        number = 0
        while _mark(number) in names:
            number += 1
        return Generation(number, Generation(number).seal_file in names)

    def _verified(self, kind: ArtifactKind, key: str, verify: Verify[T]) -> tuple[Seal, T] | None:
        """The seal and what ``verify`` makes of it; damage is set aside and counts as absent."""
        while True:
            generation = self._generation(kind, key)
            if not generation.sealed:
                return None
            try:
                raw = self._fs.read(f"{_folder(kind, key)}/{generation.seal_file}")
            except FileNotFoundError:  # somebody deletes the store's files by hand
                continue
            try:
                seal = Seal.from_bytes(raw, kind, key)
                return seal, verify(seal)
            except CorruptArtifact as error:
                try:
                    self._set_aside(kind, key, generation.number, raw, str(error))
                except BadInput as unwritable:
                    _log.warning("damaged %s %s (%s): %s", kind.value, key, error, unwritable)
                    return None

    def _check_sizes(self, seal: Seal) -> None:
        folder = f"{_folder(seal.kind, seal.key)}/{seal.folder}"
        for file in seal.files:
            size = self._fs.size(f"{folder}/{file.name}")
            if size is None:
                raise CorruptArtifact(f"{file.name} is missing")
            if size != file.size:
                raise CorruptArtifact(f"{file.name} has {size} bytes, {file.size} were sealed")

    def _read_all(self, seal: Seal, only: str | None = None) -> dict[str, bytes]:
        folder = f"{_folder(seal.kind, seal.key)}/{seal.folder}"
        contents = {}
        for file in seal.files:
            if only not in (None, file.name):
                continue
            try:
                data = self._fs.read(f"{folder}/{file.name}")
            except FileNotFoundError as error:
                raise CorruptArtifact(f"{file.name} is missing") from error
            file.check(data)
            contents[file.name] = data
        return contents

    def _set_aside(
        self, kind: ArtifactKind, key: str, generation: int, raw: bytes, reason: str
    ) -> None:
        """Keep a damaged generation in ``damaged/``, then mark it: from then on it is absent.

        Every step may be repeated by another process, or after a crash.
        """
        folder, aside = _folder(kind, key), _aside(kind, key, generation)
        self._fs.write(f"{aside}/{Generation(generation).seal_file}", raw)
        for name in self._data_folders(folder, raw, generation):
            self._fs.move(f"{folder}/{name}", f"{aside}/{name}")
        mark = records.to_bytes({"reason": reason, "kept_at": aside})
        if self._fs.create_if_absent(f"{folder}/{_mark(generation)}", mark):
            self.damaged.append(Damage(kind, key, reason, aside))
            _log.warning(
                "damaged %s %s (%s): kept in %s/%s, will be made again",
                *(kind.value, key, reason, self._fs.root, aside),
            )

    def _data_folders(self, folder: str, raw: bytes, generation: int) -> list[str]:
        """The data folder that a damaged seal names; all there are where its name is damaged too.

        Before the mark exists, no other generation has any.
        """
        names = self._fs.names(folder)
        there = [name for name in names if DATA_FOLDER.fullmatch(name)]
        named = {match.decode() for match in _NAMED_FOLDER.findall(raw)}
        if named or _mark(generation) in names:
            return [name for name in there if name in named]
        return there


def _folder(kind: ArtifactKind, key: str) -> str:
    return f"{kind.value}/{checked_key(key)[:2]}/{key}"


def _aside(kind: ArtifactKind, key: str, generation: int) -> str:
    return f"damaged/{kind.value}-{key}-{generation}"


def _mark(generation: int) -> str:
    return f"DAMAGED-{generation}.json"
