"""Who drives a run: so that a run whose process is gone does not look as if it still ran.

``<store>/journal/<run>/driver.json`` holds the process that writes the run and its last sign of
life. On the same boot of the same machine the process table decides; elsewhere a heartbeat that
is older than ``STALE_AFTER`` does.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from had_core.canonical import to_plain
from had_core.decode import decode_dataclass
from had_core.errors import BadInput
from orchestrator.tracking.events import End, RunFinished
from orchestrator.tracking.files import Folder
from orchestrator.tracking.journal import Journal, JournalReader, journal_folder, journal_names

_log = logging.getLogger(__name__)
_FILE = "driver.json"
HEARTBEAT = 30.0
STALE_AFTER = 600.0


@dataclass(frozen=True)
class DriverRecord:
    """A process that drives a run.

    Attributes:
        boot: identity of the machine's boot and of the process namespace; pids mean something only
            inside it.
        started: start time of the process in clock ticks since boot; tells a reused pid apart.
        beat: seconds since the epoch of the last sign of life.
        open: False once it ended by itself.
        tracking: where it tracks, without credentials.
        synced: all of the journal had reached MLflow when it ended, or was brought there since.
    """

    pid: int
    host: str
    boot: str
    started: int
    beat: float
    open: bool
    tracking: str
    synced: bool = False

    def alive(self, now: float) -> bool:
        """Whether the process still drives the run."""
        if not self.open:
            return False
        if self.host == socket.gethostname() and self.boot == _boot():
            return _start_ticks(self.pid) == self.started
        return now - self.beat < STALE_AFTER


def announce(store_root: str | Path, run: str, tracking: str, now: float) -> DriverRecord:
    """Record this process as the driver of ``run``."""
    pid = os.getpid()
    record = DriverRecord(
        pid, socket.gethostname(), _boot(), _start_ticks(pid) or 0, now, True, tracking
    )
    _write(journal_folder(store_root, run), record)
    return record


def beat(store_root: str | Path, run: str, record: DriverRecord, now: float) -> DriverRecord:
    """Renew the sign of life."""
    record = replace(record, beat=now)
    _write(journal_folder(store_root, run), record)
    return record


def retire(
    store_root: str | Path, run: str, record: DriverRecord, now: float, *, synced: bool = False
) -> None:
    """Record that the driver ended, and whether MLflow has everything."""
    ended = replace(record, beat=now, open=False, synced=synced)
    _write(journal_folder(store_root, run), ended)


def behind(store_root: str | Path, tracking: str) -> list[str]:
    """Runs without a driver of which the MLflow at ``tracking`` may lack something."""
    names = []
    for run in journal_names(store_root):
        record = driver_of(store_root, run)
        if record is not None and record.tracking == tracking:
            names += [] if record.open or record.synced else [run]
    return names


def mark_synced(store_root: str | Path, run: str, tracking: str) -> None:
    """Record that the MLflow at ``tracking`` has everything of a run that has ended."""
    record = driver_of(store_root, run)
    if record is not None and not record.open and record.tracking == tracking:
        retire(store_root, run, record, record.beat, synced=True)


def adopt(store_root: str | Path, run: str, tracking: str) -> None:
    """Record that a run that has ended is tracked at ``tracking`` now, which has everything.

    The store was moved, and its own MLflow with it: the record names where that was before.
    """
    record = driver_of(store_root, run)
    if record is not None and not record.open and record.tracking != tracking:
        moved = replace(record, tracking=tracking)
        retire(store_root, run, moved, record.beat, synced=True)


def driver_of(store_root: str | Path, run: str) -> DriverRecord | None:
    """The last driver of a run, None if there is no readable record."""
    try:
        raw = json.loads(journal_folder(store_root, run).read(_FILE))
        return decode_dataclass(DriverRecord, raw, _FILE)
    except (FileNotFoundError, ValueError, BadInput):
        return None


def mark_dead_runs(store_root: str | Path, now: float | None = None) -> list[str]:
    """Journal the end of every run whose driver is gone; the names of those runs.

    Imports no MLflow and is cheap enough for every command; the next drain closes them in MLflow.
    """
    now = time.time() if now is None else now
    return [run for run in journal_names(store_root) if _mark_dead(store_root, run, now)]


def _mark_dead(store_root: str | Path, run: str, now: float) -> bool:
    record = driver_of(store_root, run)
    if record is None or not record.open or record.alive(now):
        return False
    where = f"process {record.pid} on {record.host}"
    # The last sign of life is the best guess at the end; a driver that starts again comes later.
    seen = max(record.beat, JournalReader.open(store_root, run).latest()) + 0.001
    journal = Journal(store_root, run)
    journal.append(RunFinished(time=seen, run=run, end=End.KILLED, message=f"{where} is gone"))
    journal.close()
    if driver_of(store_root, run) == record:
        retire(store_root, run, record, record.beat)
    _log.info("run '%s' is closed: %s is gone", run, where)
    return True


def _write(folder: Folder, record: DriverRecord) -> None:
    folder.write(_FILE, json.dumps(to_plain(record), sort_keys=True).encode())


def _boot() -> str:
    """Boot id and pid namespace of this process; empty parts where the system has neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    """Start time of a process (field 22 of proc(5) stat); 0 without /proc, None if it is gone."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return 0
        return 0
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])
