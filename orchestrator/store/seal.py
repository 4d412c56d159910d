"""The seal: the one file that makes an artefact exist, written after everything it names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from had_core.canonical import to_plain
from had_core.decode import decode
from had_core.errors import BadInput, CorruptArtifact
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import records
from orchestrator.store.fs import is_safe_name

SEAL_FILE = "SEAL.json"
DATA_FOLDER = re.compile(r"data-[0-9a-f]{16}")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SealedFile:
    """One file of an artefact as it was written."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> SealedFile:
        return cls(name, len(data), hashlib.sha256(data).hexdigest())

    def check(self, data: bytes) -> None:
        """Raises CorruptArtifact naming the file."""
        if len(data) != self.size:
            raise CorruptArtifact(f"{self.name} has {len(data)} bytes, {self.size} were sealed")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise CorruptArtifact(f"{self.name} does not match its SHA-256")


@dataclass(frozen=True)
class Seal:
    """What ``SEAL.json`` holds.

    Attributes:
        folder: name of the data folder beside the seal; writers never share one.
        manifest: what the writer recorded (spec, numerics class, versions, times).
    """

    kind: ArtifactKind
    key: str
    folder: str
    files: tuple[SealedFile, ...]
    manifest: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        return records.to_bytes(to_plain(self))

    @classmethod
    def from_bytes(cls, raw: bytes, kind: ArtifactKind, key: str) -> Seal:
        """Raises CorruptArtifact where it is damaged or another artefact's."""
        try:
            seal = decode(cls, records.from_bytes(raw), at=SEAL_FILE)
        except (BadInput, CorruptArtifact) as error:
            raise CorruptArtifact(f"{SEAL_FILE}: {error}") from error
        names = [file.name for file in seal.files]
        if (seal.kind, seal.key) != (kind, key):
            raise CorruptArtifact(f"{SEAL_FILE} belongs to {seal.kind.value} {seal.key[:12]}")
        if not DATA_FOLDER.fullmatch(seal.folder) or not all(map(is_safe_name, names)):
            raise CorruptArtifact(f"{SEAL_FILE} names a file outside its folder")
        return seal


@dataclass(frozen=True)
class Sealed:
    """An artefact whose every byte was verified."""

    seal: Seal
    contents: Mapping[str, bytes] = field(repr=False)

    @property
    def kind(self) -> ArtifactKind:
        return self.seal.kind

    @property
    def key(self) -> str:
        return self.seal.key

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.seal.manifest

    @property
    def files(self) -> tuple[SealedFile, ...]:
        return self.seal.files

    def read(self, name: str) -> bytes:
        """A file's bytes; raises KeyError naming what there is."""
        if name not in self.contents:
            raise KeyError(f"{self.kind.value} {self.key[:12]} has {sorted(self.contents)}")
        return self.contents[name]


@dataclass(frozen=True)
class Damage:
    """An artefact that was found damaged and set aside.

    Attributes:
        reason: one sentence that names the file.
        kept_at: where it lies now, relative to the store.
    """

    kind: ArtifactKind
    key: str
    reason: str
    kept_at: str


def checked_key(key: str) -> str:
    """The key itself; raises ValueError unless it is 64 hexadecimal digits."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"key '{key[:80]}' is not allowed: 64 hexadecimal digits")
    return key


def is_key(name: str) -> bool:
    return _KEY.fullmatch(name) is not None
