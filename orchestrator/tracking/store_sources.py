"""What MLflow shows out of the store: example pictures, and the tables and plots of a sweep."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from had_core.errors import HadError
from orchestrator.tracking.files import open_folder

if TYPE_CHECKING:
    from orchestrator.store import Store
    from orchestrator.store.seal import Sealed

_log = logging.getLogger(__name__)


class StorePictures:
    """``source(evaluation key, file name)`` -> bytes, None where the store has no such file.

    Keeps the last evaluation it read: a drain asks for its pictures one after the other.
    """

    def __init__(self, store_root: str | Path) -> None:
        self._root = store_root
        self._store: Store | None = None
        self._last: tuple[str, Sealed | None] | None = None

    def __call__(self, key: str, file: str) -> bytes | None:
        try:
            sealed = self._sealed(key)
            return None if sealed is None else sealed.read(file)
        except (HadError, KeyError, ValueError) as error:
            _log.warning("picture %s of evaluation %s cannot be read: %s", file, key, error)
            return None

    def _sealed(self, key: str) -> Sealed | None:
        if self._last is None or self._last[0] != key:
            from orchestrator.plan.artifacts import ArtifactKind
            from orchestrator.store import Store

            self._store = self._store or Store.open(self._root)
            self._last = (key, self._store.load(ArtifactKind.EVAL, key))
        return self._last[1]


class StoreFiles:
    """``source(path in the store)`` -> bytes, None where there is no such file."""

    def __init__(self, store_root: str | Path) -> None:
        self._root = store_root

    def __call__(self, path: str) -> bytes | None:
        *folders, name = path.split("/")
        try:
            return open_folder(self._root, *folders).read(name)
        except OSError as error:
            _log.warning("file %s of the store cannot be read: %s", path, error)
            return None
