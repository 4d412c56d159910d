"""Where MLflow lives: URIs, secrets, and the first use of a store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fake_mlflow import FakeMlflow

from had_core.errors import BadInput
from orchestrator.tracking.location import TrackingLocation, redact, require_usable_uri
from orchestrator.tracking.runs import TrackingTrouble, ensure_experiment

REPO = Path(__file__).resolve().parents[3]


def test_the_default_is_inside_the_store(tmp_path: Path) -> None:
    location = TrackingLocation.of(tmp_path)
    assert location.uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert location.artifacts == f"{tmp_path}/mlflow/artifacts"
    assert not location.is_server
    assert list(tmp_path.iterdir()) == []


def test_servers_and_databases(tmp_path: Path) -> None:
    server = TrackingLocation.of(tmp_path, "https://mlflow.example")
    assert server.is_server
    assert server.artifacts is None
    database = TrackingLocation.of(tmp_path, "postgresql://ada:pw@db/mlflow")
    assert database.shown == "postgresql://***@db/mlflow"
    assert database.artifacts == f"{tmp_path}/mlflow/artifacts"
    assert database.file is None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/tmp/mlruns",
        "file:///tmp/mlruns",
        "ftp://x",
        "sqlite://",
        "sqlite:///",
        "postgresqlfoo",
        "postgresql:db/mlflow",
        "postgresql://ada:pw@db:notaport/mlflow",
        "http://",
        "http://:5000",
        "https://x:notaport",
        "https://x:99999",
        "http://[::1",
        "http://two words",
        "databricksfoo",
    ],
)
def test_what_mlflow_does_not_take_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(BadInput, match=r"tracking\.uri=.* is not allowed: http\(s\)://HOST"):
        TrackingLocation.of(tmp_path, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:5000",
        "https://ada:p%2Fw@mlflow.example/a/path?x=y",
        "http://[::1]:5000",
        "databricks",
        "databricks://profile",
        "postgresql://ada:p/w:1#?@db:5432/mlflow?sslmode=require",
        "postgresql+psycopg2:///mlflow?host=/var/run/postgresql",
        "mysql+pymysql://db/mlflow",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3Da%3BSERVER%3Db",
        "sqlite:///mlflow.db",
    ],
)
def test_what_mlflow_may_take(tmp_path: Path, uri: str) -> None:
    assert TrackingLocation.of(tmp_path, uri)


def test_a_sqlite_file_that_can_never_be_one(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database")
    for path, trouble in [
        (text, f"{text} is no sqlite database"),
        (text / "x.db", f"{text} is no folder"),
        (text / "deeper" / "x.db", f"{text} is no folder"),
        (tmp_path, f"{tmp_path} is no regular file"),
        (Path("/dev/null"), "/dev/null is no regular file"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ]:
        with pytest.raises(BadInput, match=rf"tracking\.uri=sqlite:///.*{trouble}"):
            require_usable_uri(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == [text]


def test_a_sqlite_file_that_is_there_or_can_be_made(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "made.db").executescript("create table t (x)")
    (tmp_path / "empty.db").touch()
    for name in ("made.db", "made.db?timeout=9", "empty.db", "new.db", "a/new/folder/x.db"):
        require_usable_uri(f"sqlite:///{tmp_path}/{name}")
    require_usable_uri("http://127.0.0.1:9")  # nobody is asked
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "made.db"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ada:secret@host:5000/x", "http://***@host:5000/x"),
        ("no answer from https://token@host, again", "no answer from https://***@host, again"),
        ("http://host/?token=secret&a=1", "http://host/?token=***&a=1"),
        ("postgresql://u:p%40ss@w@db/x", "postgresql://***@db/x"),
        ("sqlite:////store/mlflow.db", "sqlite:////store/mlflow.db"),
        ("two http://a:secret@x and http://b:secret@y", "two http://***@x and http://***@y"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_store_with_an_unusual_path(store: Path) -> None:
    location = TrackingLocation.of(store)
    client = location.client()
    experiment = ensure_experiment(client, "a recipe: 1/2", location)
    assert ensure_experiment(client, "a recipe: 1/2", location) == experiment
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "hello", "a.txt")
    (path,) = (store / "mlflow" / "artifacts").rglob("a.txt")
    assert path.read_text() == "hello"


def test_a_deleted_experiment_needs_a_person(tmp_path: Path) -> None:
    client = FakeMlflow()
    location = TrackingLocation.of(tmp_path)
    ensure_experiment(client, "quickstart", location)  # type: ignore[arg-type]
    next(iter(client.experiments.values())).lifecycle_stage = "deleted"
    with pytest.raises(TrackingTrouble, match="'quickstart' is deleted"):
        ensure_experiment(client, "quickstart", location)  # type: ignore[arg-type]


def test_an_experiment_made_by_another_driver_in_between(tmp_path: Path) -> None:
    client = FakeMlflow()

    class Late:
        """Does not see the experiment the first time it looks."""

        looks = 0

        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def get_experiment_by_name(self, name: str) -> object:
            self.looks += 1
            if self.looks == 1:
                client.create_experiment(name)
                return None
            return client.get_experiment_by_name(name)

    found = ensure_experiment(Late(), "x", TrackingLocation.of(tmp_path))  # type: ignore[arg-type]
    assert list(client.experiments) == [found]


@pytest.mark.slow
def test_drivers_that_use_a_store_for_the_first_time_at_once(tmp_path: Path) -> None:
    """mlflow#4123: they used to race through the migrations."""
    code = (
        "import sys\n"
        "from orchestrator.tracking.location import TrackingLocation\n"
        "from orchestrator.tracking.runs import ensure_experiment\n"
        "location = TrackingLocation.of(sys.argv[1])\n"
        "print(ensure_experiment(location.client(), 'quickstart', location))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        names = database.execute("select name from experiments order by name").fetchall()
    assert names == [("Default",), ("quickstart",)]


@pytest.mark.slow
def test_a_driver_killed_while_it_creates_the_database(tmp_path: Path, mlflow_home: Path) -> None:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    (folder / ".mlflow.db.4242").write_bytes(mlflow_home.read_bytes()[:50_000])
    client = TrackingLocation.of(tmp_path).client()
    assert [e.name for e in client.search_experiments()] == ["Default"]
    assert sorted(p.name for p in folder.iterdir()) == [".mlflow.db.lock", "mlflow.db"]
