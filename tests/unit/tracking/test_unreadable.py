"""A damaged MLflow database of a store makes room for another; nobody else's is touched."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.tracking.location import TrackingLocation


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    with closing(sqlite3.connect(tmp_path / "sound")) as database, database:
        database.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
    return (tmp_path / "sound").read_bytes()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found: list[Path] = []
    monkeypatch.setattr(
        "orchestrator.tracking.location._create_database",
        lambda path, artifacts: found.append(path),
    )
    return found


@pytest.mark.parametrize("damage", ["text", "header", "schema"])
def test_a_damaged_one_is_set_aside(
    tmp_path: Path, sound: bytes, made: list[Path], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    content = {
        "text": b"no database at all" * 99,
        "header": bytes([sound[0] ^ 1]) + sound[1:],
        "schema": sound[:100] + b"\xff" * 200 + sound[300:],
    }[damage]
    database = tmp_path / "st" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(content)
    Path(f"{database}-wal").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        TrackingLocation.of(tmp_path / "st").prepare()
    assert made == [database]
    (aside,) = database.parent.glob("*.damaged-*[0-9a-f]")
    assert aside.read_bytes() == content
    assert f"set aside as {aside.name}: had sync --all" in caplog.text


def test_a_sound_one_and_one_of_somebody_else_stay(
    tmp_path: Path, sound: bytes, made: list[Path]
) -> None:
    database = tmp_path / "st" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(sound)
    TrackingLocation.of(tmp_path / "st").prepare()
    (tmp_path / "other.db").write_bytes(b"text" * 99)
    TrackingLocation.of(tmp_path / "st", f"sqlite:///{tmp_path}/other.db").prepare()
    assert made == []
    assert not list(tmp_path.rglob("*.damaged-*"))
