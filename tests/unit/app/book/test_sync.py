"""``had sync``: what MLflow missed is brought there once, and what it refuses is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_mlflow import FakeMlflow

from orchestrator.tracking.driver_record import announce, retire
from orchestrator.tracking.location import TrackingLocation


@pytest.fixture
def mlflow(monkeypatch, tmp_path):
    """An MLflow in memory in the place of every other; its file is said to be there."""
    client = FakeMlflow()
    monkeypatch.setattr(TrackingLocation, "client", lambda self: client)
    return client


@pytest.fixture
def untracked(made):
    config = made.run("quiet") and made.store.runs.read("quiet").config
    made.store.fs.delete("runs/quiet.json")
    tracking = {**config["tracking"], "enabled": False}
    made.store.runs.create("quiet", {**config, "tracking": tracking})


def test_what_was_missed_is_brought_there_once(made, mlflow, document):
    made.run("first")
    (run,) = document("sync")["runs"]
    assert (run["name"], run["skipped"], run["damaged"]) == ("first", "", [])
    assert run["events"] == 10 and run["written"] == len(mlflow.runs) > 0
    assert run["tracking_uri"].startswith("sqlite:///")
    (again,) = document("sync", "--all")["runs"]
    assert again["written"] == 0


def test_only_named_runs_are_brought(made, mlflow, document):
    made.run("first")
    made.run("second", seeds=(1,))
    assert [run["name"] for run in document("sync", "second")["runs"]] == ["second"]


def test_an_untracked_run_is_skipped_unless_mlflow_is_named(made, mlflow, untracked, document):
    (run,) = document("sync")["runs"]
    assert run["skipped"].startswith("it is not tracked") and not mlflow.runs
    (run,) = document("sync", "--tracking-uri", f"sqlite:///{made.store.uri}/else.db")["runs"]
    assert run["skipped"] == "" and mlflow.runs


def test_a_run_that_is_there_is_left_alone(made, mlflow, document, monkeypatch, had):
    made.run("first")
    monkeypatch.setattr("orchestrator.app.book.syncing._is_there", lambda *told: True)
    (run,) = document("sync")["runs"]
    assert run["skipped"] == "MLflow has everything" and not mlflow.runs
    assert "1 run, 1 of which MLflow had in full" in had("sync").stdout


def test_a_moved_store_is_replayed_once(made, mlflow, document, tmp_path):
    made.run("first")
    root = made.store.uri
    record = announce(root, "first", TrackingLocation.of(root).shown, 1.0)
    retire(root, "first", record, 2.0, synced=True)
    moved = tmp_path / "moved"
    shutil.move(root, moved)
    (moved / "mlflow").mkdir()
    (moved / "mlflow/mlflow.db").touch()
    where = ["--store", str(moved)]
    (elsewhere,) = document("sync", "--tracking-uri", f"sqlite:///{tmp_path}/else.db", *where)[
        "runs"
    ]
    (first,), (again,) = (document("sync", *where)["runs"] for _ in range(2))
    assert elsewhere["skipped"] == first["skipped"] == "", "another MLflow is not the store's own"
    assert again["skipped"] == "MLflow has everything"


def test_people_read_what_was_done(made, mlflow, had):
    made.run("first")
    assert "first: 10 events," in had("sync").stdout


def test_trouble_with_mlflow_is_one_sentence(made, had, monkeypatch):
    made.run("first")

    def away(self):
        raise ConnectionError("https://ada:secret@host refused")

    monkeypatch.setattr(TrackingLocation, "client", away)
    done = had("sync")
    assert done.exit_code == 1 and "did not take run 'first'" in done.stderr
    assert "secret" not in done.stderr


def test_a_damaged_journal_id_is_named(made, refused):
    made.run("first")
    file = Path(made.store.uri, "journal/first/id.json")
    file.write_text("")
    elsewhere = f"sqlite:///{made.store.uri}/else.db"
    told = refused("sync", "--tracking-uri", elsewhere)
    assert f"{file} is damaged: delete it, and the run is tracked anew" in told
    assert not Path(made.store.uri, "else.db").exists()


def test_bad_input_is_refused_by_name(made, refused):
    made.run("first")
    assert "run 'none' has no journal" in refused("sync", "none")
    assert "tracking.uri=nowhere is not allowed" in refused("sync", "--tracking-uri", "nowhere")
    null = "sqlite:////dev/null"
    assert f"tracking.uri={null} is not allowed" in refused("sync", "--tracking-uri", null)
    assert "holds no store" in refused("sync", "--store", f"{made.store.uri}-not")
    assert not Path(made.store.uri, "mlflow").exists()
