"""The UI comes up on this machine only, answers, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.tracking import ui
from orchestrator.tracking.location import TrackingLocation

REPO = Path(__file__).resolve().parents[3]


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port={port} is not allowed: it is in use"):
            ui.start(TrackingLocation.of(tmp_path), port)


@pytest.mark.parametrize("port", [-1, 70000])
def test_no_port_at_all(tmp_path: Path, port: int) -> None:
    with pytest.raises(BadInput, match=f"port={port}"):
        ui.start(TrackingLocation.of(tmp_path), port)


def test_a_server_is_only_named(tmp_path: Path) -> None:
    said: list[str] = []
    ui.serve(tmp_path, "http://ada:secret@mlflow.example:5000", say=said.append)
    assert said == ["MLflow is at http://***@mlflow.example:5000"]


def test_trouble_with_dead_runs_does_not_keep_the_ui_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> list[str]:
        raise ConnectionError("https://ada:secret@mlflow.example refused")

    monkeypatch.setattr(ui, "close_dead_runs", fail)
    said: list[str] = []
    ui.serve(tmp_path, "https://ada:secret@mlflow.example", say=said.append)
    assert len(said) == 2
    assert "secret" not in "".join(said)


def test_credentials_do_not_show_in_the_process_list(tmp_path: Path) -> None:
    location = TrackingLocation.of(tmp_path, "postgresql://ada:secret@db/mlflow")
    environment = ui._environment(location)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == location.uri
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            b'Traceback:\n  File "base.py", line 1977\nOSError: no postgresql://u:pw@db\n',
            "OSError: no",
        ),
        (
            b"Error: broken\n[SQL: SELECT a\nFROM b]\n[parameters: (1,)]\n"
            b"(Background on this error at: https://sqlalche.me/e/4xp6)\n\n",
            "Error: broken",
        ),
        (b"", "it said nothing"),
    ],
)
def test_of_a_server_that_ends_the_last_line_is_told(written: bytes, words: str) -> None:
    with tempfile.TemporaryFile() as log, subprocess.Popen(["true"]) as process:
        log.write(written)
        last = ui.UiServer("http://127.0.0.1:1", process, log).last_words()
    assert last.startswith(words)
    assert "\n" not in last and "pw" not in last


def _group_is_gone(group: int) -> bool:
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_it_starts_answers_and_stops(store: Path) -> None:
    with ui.start(TrackingLocation.of(store), 0) as server:
        with urllib.request.urlopen(f"{server.url}/", timeout=120) as answer:
            assert answer.status == 200
            assert b"MLflow" in answer.read()
        port = int(server.url.rpartition(":")[2])
        with socket.socket() as outside:  # another address of this machine is not served
            outside.settimeout(5)
            assert outside.connect_ex(("127.0.0.2", port)) != 0
    assert _group_is_gone(server.process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_too(store: Path, number: signal.Signals) -> None:
    code = "import sys; from orchestrator.tracking.ui import serve; serve(sys.argv[1], port=0)"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("MLflow UI: http://127.0.0.1:")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(number)
    assert process.wait(120) == 0
    process.stdout.close()
    assert children
    assert all(_group_is_gone(int(child)) for child in children)
