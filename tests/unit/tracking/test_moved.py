"""A store that was copied or moved keeps its MLflow runs, and writes beside its own database."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fake_mlflow import snapshot

from orchestrator.tracking.events import Event
from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter
from orchestrator.tracking.moved import _connect, follow_move

Pictures = Callable[[str, str], bytes]
TABLES = """
CREATE TABLE experiments (name VARCHAR(256), artifact_location VARCHAR(256));
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, artifact_uri VARCHAR(200), start BIGINT);
CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000));
CREATE TABLE notes ("a ""text" TEXT);
"""


def _database(store: Path, *locations: str) -> Path:
    """A database with an experiment at each place, and a few values that name the first."""
    (store / "mlflow").mkdir(parents=True)
    path = store / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        for place in locations:
            database.execute("INSERT INTO experiments VALUES ('q', ?)", (place,))
            database.execute("INSERT INTO notes VALUES (?)", (f"{place}/a/file",))
            database.execute("INSERT INTO params VALUES ('p', ?)", (f"see {place}/a",))
    return path


def _values(path: Path, table: str) -> list[str | None]:
    with closing(sqlite3.connect(path)) as database:
        return [row[-1] for row in database.execute(f"SELECT * FROM {table}")]


def _root(store: Path) -> str:
    return (store / "mlflow" / "artifacts").as_uri()


def test_what_begins_with_another_root_is_rewritten(tmp_path: Path) -> None:
    store, old = tmp_path / "a störe", Path("/gone/ä_store/mlflow/artifacts")
    path = _database(store, f"{old.as_uri()}/q", f"{old}/0", "s3://bucket/mlflow/artifacts/q")
    follow_move(path)
    moved = [f"{_root(store)}/q", f"{store}/mlflow/artifacts/0", "s3://bucket/mlflow/artifacts/q"]
    assert _values(path, "experiments") == moved
    assert _values(path, "notes") == [f"{place}/a/file" for place in moved]
    assert _values(path, "params")[0] == f"see {old.as_uri()}/q/a"


def test_a_copy_of_a_copy_that_was_written_meanwhile(tmp_path: Path) -> None:
    places = [f"file://{old}/mlflow/artifacts/q" for old in ("/one", "/two", "/one/mlflow/three")]
    path = _database(tmp_path / "st", *places)
    follow_move(path)
    assert _values(path, "experiments") == [f"{_root(tmp_path / 'st')}/q"] * 3


def test_a_store_in_its_place_is_not_written(tmp_path: Path) -> None:
    path = _database(tmp_path / "st", f"{_root(tmp_path / 'st')}/q", "file:///else/where/q")
    before = path.read_bytes(), path.stat().st_mtime_ns
    follow_move(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_link_to_a_store_is_no_copy(tmp_path: Path) -> None:
    path = _database(tmp_path / "st", f"{_root(tmp_path / 'st')}/q")
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "st")
    follow_move(tmp_path / "link" / "mlflow" / "mlflow.db")
    assert path.read_bytes() == before


def test_a_database_that_cannot_be_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _database(tmp_path / "st", "file:///old/mlflow/artifacts/q")
    # Permissions do not stop every user who may run this.
    monkeypatch.setattr(
        "orchestrator.tracking.moved._connect", lambda path, mode: _connect(path, "ro")
    )
    follow_move(path)
    assert _values(path, "experiments") == ["file:///old/mlflow/artifacts/q"]


def test_other_files_are_left_to_mlflow(tmp_path: Path) -> None:
    follow_move(tmp_path / "none.db")
    for name, data in (("empty.db", b""), ("text.db", b"no database" * 999)):
        (tmp_path / name).write_bytes(data)
        follow_move(tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    assert not (tmp_path / "none.db").exists()


def test_only_the_stores_own_file_is_touched(tmp_path: Path) -> None:
    path = _database(tmp_path / "st", "file:///old/mlflow/artifacts/q")
    TrackingLocation.of(tmp_path / "other", f"sqlite:///{path}").prepare()
    assert _values(path, "experiments") == ["file:///old/mlflow/artifacts/q"]
    TrackingLocation.of(tmp_path / "st").prepare()
    assert _values(path, "experiments") == [f"{_root(tmp_path / 'st')}/q"]


def test_a_copied_store_is_tracked_in_its_own_place(
    store: Path, demo: list[Event], pictures: Pictures, tmp_path: Path
) -> None:
    _track(store, demo[: len(demo) // 2], pictures)
    copy = tmp_path / "a cöpy"
    shutil.copytree(store, copy)
    before = _files(store)
    _forget_artifact_folders()
    _track(copy, demo[len(demo) // 2 :], pictures)
    assert _files(store) == before
    client = TrackingLocation.of(copy).client()
    state = snapshot(client)
    assert len(state["runs"]) == 6
    assert {run["status"] for run in state["runs"].values()} == {"FINISHED"}
    (name,) = [e.experiment_id for e in client.search_experiments() if e.name == "quickstart"]
    uris = [run.info.artifact_uri for run in client.search_runs([name])]
    assert uris and all(uri.startswith(f"{_root(copy)}/") for uri in uris)
    assert set(_files(copy / "mlflow" / "artifacts")) > set(_files(store / "mlflow" / "artifacts"))


def _track(store: Path, events: list[Event], pictures: Pictures) -> None:
    journal = Journal(store, events[0].run)
    journal.append(*events)
    journal.close()
    reader = JournalReader.open(store, events[0].run)
    location = TrackingLocation.of(store)
    MlflowWriter(reader, events[0].run, location, pictures=pictures).drain()


def _forget_artifact_folders() -> None:
    """What MLflow remembers of a run within one process; the copy is another process's."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
