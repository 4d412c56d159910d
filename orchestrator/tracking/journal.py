"""The durable record of what happened: append-only, immutable segments in the store.

::

    <store>/journal/<run>/id.json                       identity of this journal, made once
    <store>/journal/<run>/<host>-<pid>-<nonce>-<n>.jsonl  segment n of one writer

A segment is one event a line and a last line with their count and SHA-256. It appears complete
or not at all and is never changed; every writer has its own names, so that a driver and workers on
other nodes append at the same time without a lock. The events are the truth about progress;
MLflow is a view that can be rebuilt from them.

Durability: an event that ends something is on disk when ``append`` returns; others are written by
a thread within half a second, or a twentieth of the stage's time so far, at most ten seconds. So
the training path pays for memory, not for files, and a killed process loses only the tail. A
worker calls ``flush`` before it seals a stage: a sealed stage is never without its epochs.

Trouble with the disk never reaches the training: it is logged once, the events are kept and
tried again with the next write.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from had_core.errors import BadInput
from orchestrator.tracking.event_json import from_json, starts, to_json
from orchestrator.tracking.events import (
    EpochEnded,
    Event,
    RunFinished,
    RunStarted,
    SequenceFinished,
    StageFailed,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialStarted,
)
from orchestrator.tracking.files import Folder, open_folder, subfolders
from orchestrator.tracking.segments import segment_lines, to_segment

_log = logging.getLogger(__name__)
_ROOM = "journal"
_ID = "id.json"
_TIME = re.compile(r'\{"event":"\w+","time":([-+.0-9eE]+)')
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=,+@-]{0,199}")
_AT_ONCE = (
    RunStarted,
    TrialStarted,  # workers journal what they train for it: it must not be lost before that
    StageFinished,
    StageFailed,
    SequenceFinished,
    TrialFinished,
    RunFinished,
)
_DELAY = (0.5, 10.0)  # seconds that an event may stay in memory, at least and at most
_SHARE = 0.05  # of a stage's time so far; long stages do not make a segment of every epoch


class DamagedId(BadInput):
    """The file with a journal's identity does not hold one."""


def journal_folder(store_root: str | Path, run: str) -> Folder:
    """The folder of a run's journal; raises BadInput for a run name that is no file name."""
    if not _NAME.fullmatch(run):
        raise BadInput(f"run name '{run}' is not allowed: letters, digits and _.=,+@- only")
    return open_folder(store_root, _ROOM, run)


def journal_names(store_root: str | Path) -> list[str]:
    """Names of the runs that have a journal in this store."""
    return subfolders(store_root, _ROOM)


def journal_id(folder: Folder) -> str:
    """Identity of a journal, 16 hexadecimal digits, made by the first who asks.

    Two stores may hold runs of the same name; their MLflow runs differ by this id.

    Raises:
        DamagedId: the file does not hold one.
    """
    if _ID not in folder.names():
        folder.create(_ID, _id_text(uuid.uuid4().hex[:16]))
    try:
        journal = json.loads(folder.read(_ID))["journal"]
    except (ValueError, KeyError, TypeError):
        journal = None
    if not (isinstance(journal, str) and journal):
        where = f"{folder.local}/{_ID}" if folder.local else f"{_ID} of the journal"
        raise DamagedId(
            f"{where} is damaged: delete it, and the run is tracked anew under new MLflow runs"
        )
    return journal


def restore_id(folder: Folder, journal: str) -> None:
    """Write the identity of a journal again, once it was found elsewhere."""
    folder.write(_ID, _id_text(journal), durable=True)


def _id_text(journal: str) -> bytes:
    return json.dumps({"journal": journal}).encode()


class Journal:
    """Appends to one run's journal; safe to use from several threads, not across ``fork``.

    On the training path (local disk, idle machine): 6 us an epoch, 0.2 ms any other event, 0.5 ms
    more for one that ends something.
    """

    def __init__(self, store_root: str | Path, run: str) -> None:
        self.run = run
        self._folder = journal_folder(store_root, run)
        self._writer = _writer_id()
        self._lock = threading.Lock()  # guards the lines; held for microseconds
        self._disk = threading.Lock()  # guards the segments; held while one is written
        self._lines: list[str] = []
        self._segment = 0
        self._stage_began = time.monotonic()
        self._pending = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False
        atexit.register(_flush_at_exit, weakref.ref(self))

    def append(self, *events: Event) -> None:
        """Add events; what is given together reaches the disk together, as one file.

        Raises:
            BadInput: one belongs to another run or could not be read back; none was added.
        """
        lines = [self._line(event) for event in events]
        with self._lock:
            self._lines += lines
            if any(isinstance(event, StageStarted) for event in events):
                self._stage_began = time.monotonic()
        if any(isinstance(event, _AT_ONCE) for event in events):
            self._write(durable=True)
        elif self._closed.is_set():
            self._write(durable=False)
        else:
            self._write_soon()

    def _line(self, event: Event) -> str:
        if event.run != self.run:
            raise BadInput(f"event of run '{event.run}' is not allowed in journal '{self.run}'")
        line = to_json(event)
        if not isinstance(event, EpochEnded):  # the only frequent event, and a simple one
            from_json(line, type(event).__name__)  # better here than when the segment is read
        return line

    def flush(self) -> None:
        """Bring everything to the disk; call it before a stage is sealed."""
        self._write(durable=True)

    def close(self) -> None:
        """Flush and end the thread; later events are written at once."""
        self._closed.set()
        self._pending.set()
        self._write(durable=True)

    def _write_soon(self) -> None:
        if not self._pending.is_set():
            self._pending.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._pump, name="had-journal", daemon=True)
            self._thread.start()

    def _pump(self) -> None:
        while not self._closed.is_set():
            self._pending.wait()
            self._closed.wait(self._delay())
            self._pending.clear()
            self._write(durable=False)

    def _delay(self) -> float:
        """Seconds until what is in memory is written."""
        shortest, longest = _DELAY
        return min(max(shortest, _SHARE * (time.monotonic() - self._stage_began)), longest)

    def _write(self, *, durable: bool) -> None:
        with self._disk:
            with self._lock:
                lines, self._lines = self._lines, []
            if not lines:
                return
            name = f"{self._writer}-{self._segment:06d}.jsonl"
            try:
                self._folder.write(name, to_segment(lines), durable=durable)
            except OSError as error:
                if not self._failing:
                    _log.warning("journal of run '%s' cannot be written yet: %s", self.run, error)
                self._failing = True
                with self._lock:
                    self._lines[:0] = lines
                self._pending.set()
                return
            self._failing = False
            self._segment += 1


def _flush_at_exit(journal: weakref.ref[Journal]) -> None:
    alive = journal()
    if alive is not None:
        alive.flush()


@dataclass(frozen=True)
class Entry:
    """An event and its place; entries sort by time, then writer, segment and line."""

    event: Event
    segment: str
    line: int

    @property
    def place(self) -> tuple[float, str, int]:
        return (self.event.time, self.segment, self.line)


@dataclass
class JournalReader:
    """Reads a journal while it grows.

    Attributes:
        damaged: names of segments that could not be read; each was logged once and is skipped.
    """

    folder: Folder
    damaged: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, store_root: str | Path, run: str) -> JournalReader:
        return cls(journal_folder(store_root, run))

    def poll(self) -> list[Entry]:
        """Entries of segments that appeared since the last call, in order."""
        entries: list[Entry] = []
        for name in self._names():
            if name not in self._seen:
                entries.extend(self._read(name))
                self._seen.add(name)
        return sorted(entries, key=lambda entry: entry.place)

    def read(self, names: Iterable[str]) -> list[Entry]:
        """Entries of segments that were given out before."""
        return [entry for name in sorted(names) for entry in self._read(name)]

    def events(self, *kinds: type[Event]) -> list[Event]:
        """Every event so far (of these kinds, if any is named), in order.

        Naming a few kinds is ten times as fast; what ``poll`` has given out is forgotten.
        """
        self.rewind()
        names = self._names()
        entries = [entry for name in names for entry in self._read(name, starts(kinds))]
        self._seen.update(names)
        return [entry.event for entry in sorted(entries, key=lambda entry: entry.place)]

    def latest(self) -> float:
        """Time of the latest event so far, 0 without one; decodes none of them."""
        lines = (line for name in self._names() for line in self._lines(name))
        return max((float(t[1]) for line in lines if (t := _TIME.match(line))), default=0.0)

    def rewind(self) -> None:
        """Let the next ``poll`` begin anew."""
        self._seen.clear()
        self.damaged.clear()

    def _names(self) -> list[str]:
        return [name for name in self.folder.names() if name.endswith(".jsonl")]

    def _read(self, name: str, only: tuple[str, ...] = ("",)) -> Iterable[Entry]:
        try:
            return [
                Entry(from_json(line, f"{name}:{number + 1}"), name, number)
                for number, line in enumerate(self._lines(name))
                if line.startswith(only)
            ]
        except BadInput as error:
            self._skip(name, error)
            return ()

    def _lines(self, name: str) -> list[str]:
        try:
            return segment_lines(self.folder.read(name), name)
        except BadInput as error:
            self._skip(name, error)
            return []

    def _skip(self, name: str, error: BadInput) -> None:
        self.damaged.append(name)
        _log.warning("journal segment skipped: %s", error)


def _writer_id() -> str:
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:20] or "host"
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
