"""The writer as a quiet companion of a driver, and what to do for runs that have no driver.

Nothing here raises into the caller's work: while MLflow is away or fails, the journal grows, one
warning is logged, and the writer tries again ever less often; ``sync`` catches up later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.tracking.driver_record import (
    HEARTBEAT,
    DriverRecord,
    announce,
    beat,
    behind,
    mark_dead_runs,
    mark_synced,
    retire,
)
from orchestrator.tracking.journal import DamagedId, JournalReader, journal_folder, journal_names
from orchestrator.tracking.location import TrackingLocation, redact
from orchestrator.tracking.locks import WriterLock
from orchestrator.tracking.mlflow_writer import DrainReport, MlflowWriter, PictureSource
from orchestrator.tracking.store_sources import StoreFiles, StorePictures

_log = logging.getLogger(__name__)
_EVERY = 1.0
_LONGEST_WAIT = 60.0


class TrackingWriter:
    """Drains a run's journal in a daemon thread, and shows that its driver lives.

    Once MLflow has answered, runs of dead drivers and runs that it missed are brought there too.

    ::

        with TrackingWriter(store_root, run, location, pictures=...) as tracking:
            ...                    # append RunStarted ... RunFinished to a Journal
        tracking.behind            # why MLflow lacks something, None if all is there

    Args:
        store_root: root of the store that holds the journal.
        pictures: where example pictures are read from; the store by default.
        writer: instead of an MlflowWriter on ``location``.
        every: seconds between drains.
    """

    def __init__(
        self,
        store_root: str | Path,
        run: str,
        location: TrackingLocation,
        *,
        pictures: PictureSource | None = None,
        writer: MlflowWriter | None = None,
        every: float = _EVERY,
    ) -> None:
        self._root = store_root
        self._run = run
        self._location = location
        self._pictures = pictures or StorePictures(store_root)
        self._writer = writer
        self._every = every
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._drained = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._trouble: str | None = "nothing was written yet"
        self._warned = False
        self._tidied = False
        self._thread: threading.Thread | None = None
        self._record: DriverRecord | None = None

    def start(self) -> TrackingWriter:
        """Announce the driver and begin; MLflow is imported in the thread.

        The end of a driver of this run that was killed is journalled first, so that what it left
        open is not taken for this one's.
        """
        mark_dead_runs(self._root)
        self._record = announce(self._root, self._run, self._location.shown, time.time())
        self._thread = threading.Thread(target=self._loop, name="had-tracking", daemon=True)
        self._thread.start()
        return self

    def flush(self, timeout: float = 30.0) -> bool:
        """Drain now; whether everything journalled before the call reached MLflow in time."""
        with self._drained:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            self._drained.wait_for(lambda: self._answered >= mine or self._ended(), timeout)
            return self._answered >= mine and self._trouble is None

    def stop(self, timeout: float = 60.0) -> bool:
        """Drain a last time and end the thread; whether MLflow has everything.

        After ``timeout`` seconds the thread is left behind; nothing is lost, the journal has it.
        """
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                self._trouble = f"MLflow did not answer within {timeout:.0f} s"
        if self._record is not None:
            synced = self._trouble is None
            retire(self._root, self._run, self._record, time.time(), synced=synced)
        if self._trouble is not None:
            _log.warning("MLflow is behind the journal of run '%s': %s", self._run, self._trouble)
        return self._trouble is None

    @property
    def behind(self) -> str | None:
        """One sentence on why MLflow lacks something, None if the last drain succeeded."""
        return self._trouble

    def __enter__(self) -> TrackingWriter:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _ended(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def _loop(self) -> None:
        # At normal priority: a nice thread that holds the interpreter lock would hold up training.
        lock = WriterLock(self._root, self._run)
        wait, last_beat = self._every, time.monotonic()
        try:
            while True:
                self._wake.clear()
                last, asked = self._stop.is_set(), self._asked
                trouble = self._drain() if lock.acquire() else "another process writes this run"
                wait = self._every if trouble is None else min(2 * wait, _LONGEST_WAIT)
                with self._drained:
                    self._trouble = trouble
                    self._answered = asked
                    self._drained.notify_all()
                if last:
                    return
                last_beat = self._beat(last_beat)
                self._wake.wait(min(wait, HEARTBEAT))
        finally:
            lock.release()

    def _drain(self) -> str | None:
        """One drain; what is wrong, None if nothing."""
        try:
            if self._writer is None:
                reader = JournalReader.open(self._root, self._run)
                self._writer = MlflowWriter(
                    reader,
                    self._run,
                    self._location,
                    pictures=self._pictures,
                    files=StoreFiles(self._root),
                )
            self._writer.drain()
            if not self._tidied:
                self._tidied = True  # once is enough, and one failure is not to repeat for ever
                close_dead_runs(self._root, self._location, pictures=self._pictures)
        except DamagedId as error:  # MLflow is not to blame
            if not self._warned:
                _log.warning("MLflow misses a run: %s", error)
            self._warned = True
            return str(error)
        except Exception as error:  # whatever happens in MLflow stays out of the training
            reason = redact(f"{type(error).__name__}: {error}".splitlines()[0][:300])
            if not self._warned:
                _log.warning(
                    "MLflow cannot be written (%s); the run goes on, its journal keeps everything "
                    "and is replayed when MLflow answers again",
                    reason,
                )
            self._warned = True
            return reason
        self._warned = False
        return None

    def _beat(self, last: float) -> float:
        now = time.monotonic()
        if self._record is None or now - last < HEARTBEAT:
            return last
        try:
            self._record = beat(self._root, self._run, self._record, time.time())
        except OSError as error:
            _log.warning("heartbeat of run '%s' cannot be written: %s", self._run, error)
        return now


@dataclass(frozen=True)
class SyncReport:
    """What became of one run's journal.

    Attributes:
        drain: None if it was not drained.
        skipped: why it was not, empty if it was.
    """

    run: str
    drain: DrainReport | None
    skipped: str = ""


def sync(
    store_root: str | Path,
    location: TrackingLocation,
    runs: Sequence[str] | None = None,
    *,
    pictures: PictureSource | None = None,
) -> list[SyncReport]:
    """Bring MLflow to where the journals are (of all runs, or of ``runs``); close dead runs.

    A run that its own driver is writing is skipped. Raises whatever MLflow raises.
    """
    mark_dead_runs(store_root)
    pictures = pictures or StorePictures(store_root)
    reports = []
    for run in journal_names(store_root) if runs is None else runs:
        with WriterLock(store_root, run) as lock:
            if not lock.held:
                reports.append(SyncReport(run, None, "another process is writing it"))
                continue
            reader = JournalReader(journal_folder(store_root, run))
            files = StoreFiles(store_root)
            drain = MlflowWriter(reader, run, location, pictures=pictures, files=files).drain()
            mark_synced(store_root, run, location.shown)
            reports.append(SyncReport(run, drain))
    return reports


def close_dead_runs(
    store_root: str | Path,
    location: TrackingLocation,
    *,
    pictures: PictureSource | None = None,
) -> list[str]:
    """End runs left RUNNING by drivers that are gone, and catch up on runs that MLflow missed.

    Names of the runs whose end was found now. Where nothing is to be done MLflow is not even
    imported. Raises whatever MLflow raises; the journal then still knows what is to be done.
    """
    dead = mark_dead_runs(store_root)
    waiting = behind(store_root, location.shown)
    if waiting:
        sync(store_root, location, waiting, pictures=pictures)
    return dead
