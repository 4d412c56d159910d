"""``had sync``: MLflow is brought to where the journals are."""

from __future__ import annotations

from collections.abc import Sequence

from had_core.errors import BadInput, HadError
from orchestrator.app.opening import open_existing
from orchestrator.display.sync_list import SyncedRun, SyncResult
from orchestrator.store import Store
from orchestrator.tracking.background import sync as sync_journals
from orchestrator.tracking.driver_record import adopt, driver_of, mark_dead_runs
from orchestrator.tracking.journal import journal_names
from orchestrator.tracking.location import TrackingLocation, require_usable_uri
from orchestrator.tracking.trouble import told_as


class SyncFailed(HadError):
    """MLflow did not take what it lacks; the journals keep it."""


def sync(root: str, names: Sequence[str], tracking_uri: str | None, *, every: bool) -> SyncResult:
    """Replay what MLflow missed; each run where its settings track it, or at ``tracking_uri``.

    A run whose driver saw everything arrive is left alone, unless it is named or ``every`` is
    asked for, or MLflow's file is gone. Runs that are not tracked are skipped, unless a
    ``tracking_uri`` is given.

    Raises:
        BadInput: no store there, an unknown run, or an address that MLflow does not take.
        SyncFailed: MLflow does not answer or refuses; what was done before stays done.
    """
    store = open_existing(root)
    if tracking_uri is not None:
        require_usable_uri(tracking_uri)
    known = journal_names(store.uri)
    for name in names:
        if name not in known:
            raise BadInput(f"run '{name}' has no journal in store {store.uri}: see `had runs`")
    mark_dead_runs(store.uri)
    done = []
    for name in names or known:
        location = _location(store, name, tracking_uri)
        if location is None:
            done.append(SyncedRun(name, None, 0, 0, "it is not tracked (tracking.enabled=false)"))
        elif not (names or every) and _is_there(store, name, location):
            done.append(SyncedRun(name, location.shown, 0, 0, "MLflow has everything"))
        else:
            replayed = _replay(store, name, location)
            if tracking_uri is None and not replayed.skipped:
                adopt(store.uri, name, location.shown)
            done.append(replayed)
    return SyncResult(store.uri, tuple(done))


def _location(store: Store, run: str, uri: str | None) -> TrackingLocation | None:
    if uri is not None:
        return TrackingLocation.of(store.uri, uri)
    record = store.runs.known(run)
    tracking = record.config.get("tracking", {}) if record else {}
    if not tracking.get("enabled", True):
        return None
    return TrackingLocation.of(store.uri, tracking.get("uri"))


def _is_there(store: Store, run: str, location: TrackingLocation) -> bool:
    """Whether the driver's record says so and MLflow's file, where it is one, is still there."""
    if location.file is not None and not location.file.exists():
        return False
    record = driver_of(store.uri, run)
    return record is not None and record.synced and record.tracking == location.shown


def _replay(store: Store, run: str, location: TrackingLocation) -> SyncedRun:
    with told_as(SyncFailed, f"MLflow at {location.shown} did not take run '{run}'"):
        (report,) = sync_journals(store.uri, location, [run])
    if report.drain is None:
        return SyncedRun(run, location.shown, 0, 0, report.skipped)
    drain = report.drain
    return SyncedRun(run, location.shown, drain.events, drain.written, "", drain.damaged)
