"""Claims: who executes a fit now, so that drivers that share a store do not train it twice.

::

    claims/<key>.000001.json     created if absent; the highest number rules
    claims/<key>.000002.json     by whoever found 1 stale, and deletes it

A claim is a courtesy and nothing relies on it: where it fails, a fit is trained twice, the first
seal wins and the second writer takes the winner's weights. Its holder renews it; it is stale when
its process is seen to be gone, or has given no sign of life for ``STALE_S``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from had_core.canonical import to_plain
from had_core.decode import decode
from had_core.errors import BadInput, CorruptArtifact
from orchestrator.store import records
from orchestrator.store.fs import StoreFs, is_temporary, nonce
from orchestrator.store.processes import Process
from orchestrator.store.seal import checked_key

_log = logging.getLogger("orchestrator.store")
_FOLDER = "claims"
BEAT_S = 15.0
STALE_S = 90.0  # clocks of machines that share a store may differ by a minute

_held: set[str] = set()  # nonces of the claims that this process holds


@dataclass(frozen=True)
class ClaimRecord:
    """Who holds a claim.

    Attributes:
        nonce: tells several holders in one process apart.
        beat: seconds since the epoch of the last sign of life.
    """

    process: Process
    nonce: str
    beat: float

    def alive(self, now: float) -> bool:
        if now - self.beat >= STALE_S:
            return False
        if self.process == Process.current():
            return self.nonce in _held
        return self.process.runs() is not False


class Claim:
    """A claim that this process holds and renews until it is released."""

    def __init__(self, fs: StoreFs, path: str, record: ClaimRecord) -> None:
        self._fs, self._path, self._record = fs, path, record
        self._released = threading.Event()
        _held.add(record.nonce)
        threading.Thread(target=self._renew, name="claim", daemon=True).start()

    def release(self) -> None:
        """Let others take it; harmless where it is released, or was lost, already."""
        if not self._released.is_set():
            self._released.set()
            _held.discard(self._record.nonce)
            self._fs.delete(self._path)

    def _renew(self) -> None:
        while not self._released.wait(BEAT_S):
            record = ClaimRecord(self._record.process, self._record.nonce, time.time())
            try:
                if self._fs.size(self._path) is not None:  # else it was taken from us as stale
                    self._fs.write(self._path, records.to_bytes(to_plain(record)), durable=False)
            except (OSError, BadInput) as error:
                _log.warning("claim %s is not renewed: %s", self._path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Claims:
    """Claims on fits below one file system."""

    def __init__(self, fs: StoreFs, clock: Callable[[], float] = time.time) -> None:
        self._fs, self._clock = fs, clock

    def take(self, fit_key: str) -> Claim | None:
        """The claim on a fit; None where somebody else who lives holds it.

        Raises BadInput where the store cannot be written.
        """
        numbers = self._numbers(checked_key(fit_key))
        if numbers and self._is_alive(_path(fit_key, numbers[-1])):
            return None
        path = _path(fit_key, numbers[-1] + 1 if numbers else 1)
        record = ClaimRecord(Process.current(), nonce(), self._clock())
        if not self._fs.create_if_absent(path, records.to_bytes(to_plain(record)), durable=False):
            return None  # another one was faster
        for number in numbers:
            self._fs.delete(_path(fit_key, number))
        return Claim(self._fs, path, record)

    def sweep(self) -> None:
        """Delete the claims of those who are gone."""
        for name in self._fs.names(_FOLDER):
            if not is_temporary(name) and not self._is_alive(f"{_FOLDER}/{name}"):
                self._fs.delete(f"{_FOLDER}/{name}")

    def alive(self) -> frozenset[str]:
        """Keys of the fits that somebody who lives executes now."""
        return frozenset(
            name.partition(".")[0]
            for name in self._fs.names(_FOLDER)
            if not is_temporary(name) and self._is_alive(f"{_FOLDER}/{name}")
        )

    def _numbers(self, key: str) -> list[int]:
        """Ascending."""
        found = []
        for name in self._fs.names(_FOLDER):
            stem, _, number = name.removesuffix(".json").partition(".")
            if stem == key and number.isdecimal():
                found.append(int(number))
        return sorted(found)

    def _is_alive(self, path: str) -> bool:
        try:
            body = records.from_bytes(self._fs.read(path))
            return decode(ClaimRecord, body, at=path).alive(self._clock())
        except (FileNotFoundError, CorruptArtifact, BadInput):
            return False


def _path(key: str, number: int) -> str:
    return f"{_FOLDER}/{key}.{number:06d}.json"
