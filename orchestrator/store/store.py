"""The store: the truth about what has been trained, scored and asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from had_core.errors import BadInput
from had_core.paths import expanded
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store.artifacts import Artifacts
from orchestrator.store.claims import Claims
from orchestrator.store.fs import TEMPORARY, StoreFs, nonce
from orchestrator.store.local_fs import LocalFs
from orchestrator.store.making import trouble_making
from orchestrator.store.partial import Partial
from orchestrator.store.registered import Registered
from orchestrator.store.runs import Runs
from orchestrator.store.seal import Damage, Seal, Sealed

LAYOUT_VERSION = 1
_LAYOUT_FILE = "store.json"
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
_LISTED = 10


class Store:
    """Sealed artefacts, progress and runs below one root.

    ::

        store.json                  layout version
        fit/ memory/ eval/          sealed artefacts (``artifacts.py``)
        partial/                    progress inside a fit (``partial.py``)
        claims/                     who executes a fit now (``claims.py``)
        runs/, dropped/             name -> configuration (``runs.py``)
        registered/                 stages that MLflow's registry names (``registered.py``)
        damaged/                    what failed its checksum, kept for a look

    Safe for many processes at once, and against the death of any of them at any point.
    """

    def __init__(self, fs: StoreFs) -> None:
        """Over an opened file system; raises BadInput for a store of a newer layout."""
        self.fs = fs
        self.runs = Runs(fs)
        self.claims = Claims(fs)
        self.registered = Registered(fs)
        self._artifacts = Artifacts(fs)
        _check_layout(fs)

    @classmethod
    def open(cls, location: str | Path) -> Store:
        """Open or create the store in a local folder (a path or a ``file://`` address).

        Raises:
            BadInput: another kind of address, a folder that cannot be written, or a store written
                by a newer version.
        """
        return cls(LocalFs(_local_path(str(location))))

    @staticmethod
    def exists(location: str | Path) -> bool:
        """Whether ``open`` would find a store there, and not make one; writes nothing.

        Raises:
            BadInput: another kind of address.
        """
        return Path(_local_path(str(location)), _LAYOUT_FILE).is_file()

    @staticmethod
    def require_place(location: str | Path) -> None:
        """Raise BadInput where ``open`` could not make a store; writes nothing."""
        root = Path(_local_path(str(location)))
        trouble = trouble_making(root)
        if trouble is not None:
            raise BadInput(
                f"store={root} cannot be written ({trouble}): a folder that this user may write to"
            )

    @property
    def uri(self) -> str:
        """What ``Store.open`` takes in another process: an absolute path."""
        return self.fs.root

    @property
    def damaged(self) -> tuple[Damage, ...]:
        """Artefacts that this object found damaged and set aside."""
        return tuple(self._artifacts.damaged)

    def require_writable(self) -> None:
        """Raise BadInput, in one sentence, where this process may not write into the store."""
        probe = f"{TEMPORARY}{nonce()}"
        self.fs.write(probe, b"")
        self.fs.delete(probe)

    def is_sealed(self, kind: ArtifactKind, key: str) -> bool:
        """Whether the artefact exists with files of the right size."""
        return self._artifacts.is_sealed(kind, key)

    def seal(
        self,
        kind: ArtifactKind,
        key: str,
        files: Mapping[str, bytes],
        manifest: Mapping[str, Any],
    ) -> Sealed:
        """Seal an artefact; returns the winner's where another writer was first.

        Raises:
            BadInput: the store cannot be written.
            ValueError: a key that is not 64 hexadecimal digits, an unsafe file name, or a manifest
                that JSON cannot hold.
        """
        return self._artifacts.seal(kind, key, files, manifest)

    def load(self, kind: ArtifactKind, key: str) -> Sealed | None:
        """The artefact, every byte verified; None where it is absent.

        A damaged one is logged by name, moved to ``damaged/``, and absent from then on.
        """
        return self._artifacts.load(kind, key)

    def read(self, kind: ArtifactKind, key: str, name: str) -> bytes | None:
        """One file of the artefact, verified, without reading the others; None where there is no
        such artefact or file. A damaged one is set aside as by ``load``."""
        return self._artifacts.read(kind, key, name)

    def manifest(self, kind: ArtifactKind, key: str) -> Mapping[str, Any] | None:
        """The manifest alone, without reading the data; None where the artefact is absent."""
        seal = self.seal_of(kind, key)
        return seal.manifest if seal else None

    def seal_of(self, kind: ArtifactKind, key: str) -> Seal | None:
        """Manifest, file names and sizes, without reading the data; None where it is absent."""
        return self._artifacts.seal_of(kind, key)

    def partial(self, fit_key: str) -> Partial:
        """The progress of a fit that is not sealed yet."""
        return Partial(self.fs, fit_key)

    def keys(self, kind: ArtifactKind) -> list[str]:
        """Keys of all sealed artefacts of a kind, sorted."""
        return self._artifacts.keys(kind)

    def find(self, prefix: str) -> list[tuple[ArtifactKind, str]]:
        """Sealed artefacts whose key begins with ``prefix``, by kind, then by key.

        Raises BadInput for a prefix that is not 1 to 64 hexadecimal digits.
        """
        if not _PREFIX.fullmatch(prefix):
            raise BadInput(f"key '{prefix}' is not allowed: 1 to 64 lower-case hexadecimal digits")
        return [(kind, key) for kind in ArtifactKind for key in self._artifacts.keys(kind, prefix)]

    def resolve(self, prefix: str, kind: ArtifactKind | None = None) -> tuple[ArtifactKind, str]:
        """The one artefact (of ``kind``) whose key begins with ``prefix``.

        Raises BadInput where there is none, or several: then it lists them.
        """
        found = [item for item in self.find(prefix) if kind in (None, item[0])]
        if len(found) == 1:
            return found[0]
        what = kind.value if kind else "artefact"
        if not found:
            raise BadInput(f"key '{prefix}' begins no {what} in store {self.uri}: see `had plan`")
        shown = ", ".join(f"{k.value} {key[: len(prefix) + 8]}" for k, key in found[:_LISTED])
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise BadInput(f"key '{prefix}' begins {len(found)} artefacts: one of {shown}{more}")


def _local_path(location: str) -> str:
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    if "://" in location:
        raise BadInput(
            f"store={location} is not allowed: a local folder (an object store needs an atomic "
            "create, which no adapter offers yet)"
        )
    return os.path.abspath(expanded(location))


def _check_layout(fs: StoreFs) -> None:
    """Write the layout version into a new store; refuse one from the future."""
    where = f"{fs.root}/{_LAYOUT_FILE}"
    try:
        if fs.size(_LAYOUT_FILE) is None:
            fs.create_if_absent(_LAYOUT_FILE, _layout_text().encode())
        version = json.loads(fs.read(_LAYOUT_FILE))["layout"]
    except OSError as error:
        raise BadInput(f"store={fs.root} cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{where} is not a store's layout file: it should hold {_layout_text()}"
        ) from error
    if type(version) is not int or not 1 <= version <= LAYOUT_VERSION:
        raise BadInput(
            f"{where} says layout {version}: this version of had reads up to {LAYOUT_VERSION}"
        )


def _layout_text() -> str:
    return json.dumps({"layout": LAYOUT_VERSION})
