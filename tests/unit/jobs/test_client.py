"""Ray's own client against a server that answers as a dashboard does."""

from __future__ import annotations

import json
import platform
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from had_core.errors import BadInput, HadError
from orchestrator.jobs.client import ConnectionLost, IdTaken, NoAgent, connect
from orchestrator.jobs.job import JobSpec, JobState
from orchestrator.jobs.shipping import write_package
from orchestrator.jobs.target import Target

TOKEN = "0123456789abcdef"
SPEC = JobSpec("run", "try", "/shared/store", {"seed": 0})


@dataclass
class Dashboard:
    """What the server knows and has heard."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    no_agent: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path in self.answers:
            return 200, self.answers[path]
        if path.startswith("/api/packages/"):
            if method == "PUT":
                self.packages.add(path)
            return (200 if path in self.packages else 404), {}
        if method == "POST" and self.no_agent:
            return 500, self.no_agent.pop()
        if path == "/api/jobs/" and method == "POST":
            job = json.loads(body)
            if job["submission_id"] in self.jobs:
                return (
                    500,
                    f"ValueError: Job with submission_id {job['submission_id']} already exists.",
                )
            self.jobs[job["submission_id"]] = {
                **{"type": "SUBMISSION", "status": "RUNNING", "start_time": 1000},
                **job,
            }
            return 200, {"job_id": job["submission_id"], "submission_id": job["submission_id"]}
        if path == "/api/jobs/":
            return 200, list(self.jobs.values())
        name = path.split("/")[3]
        if name not in self.jobs:
            return 404, f"Job {name} does not exist"
        if path.endswith("/stop"):
            self.jobs[name]["status"] = "STOPPED"
            return 200, {"stopped": True}
        return 200, {"logs": "hello\n"} if path.endswith("/logs") else self.jobs[name]


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    import ray

    known = Dashboard()
    known.answers = {
        "/api/version": {"version": "4", "ray_version": ray.__version__},
        "/api/v0/cluster_metadata": {"data": {"pythonVersion": platform.python_version()}},
        "/nodes?view=summary": {
            "data": {
                "summary": [
                    {"ip": "10.0.0.2", "raylet": {"isHeadNode": False}},
                    {"ip": "10.0.0.1", "raylet": {"isHeadNode": True}},
                ]
            }
        },
    }

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known.heard.append(f"{self.command} {self.path}")
            known.bodies.append(body)
            given = self.headers.get("Authorization")
            if given is None:
                status, answer = 401, "Unauthorized: Missing authentication token"
            elif given != f"Bearer {TOKEN}":
                status, answer = 403, "Forbidden: Invalid authentication token"
            else:
                status, answer = known.answer(self.command, self.path, body)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, *arguments: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()
    server.server_close()


@pytest.fixture
def target(dashboard) -> Target:
    return Target(dashboard.url, TOKEN, "/home/ada/token")


def test_a_job_is_submitted_listed_read_and_stopped(dashboard, target, tmp_path):
    api = connect(target)
    package = tmp_path / "job.zip"
    write_package(package, SPEC)
    api.submit("run-try-1", SPEC, package)
    assert [(job.id, job.name, job.state) for job in api.list()] == [
        ("run-try-1", "try", JobState.RUNNING)
    ]
    assert api.read_log("run-try-1") == "hello\n"
    api.stop("run-try-1")
    assert api.get("run-try-1").state is JobState.STOPPED
    assert api.head() == "10.0.0.1"
    with pytest.raises(IdTaken):
        api.submit("run-try-1", SPEC, package)
    assert len([line for line in dashboard.heard if line.startswith("PUT")]) == 1


def test_a_cluster_that_is_still_coming_up_is_waited_for(dashboard, target, tmp_path, monkeypatch):
    """The dashboard answers before the agent that executes jobs does."""
    monkeypatch.setattr("orchestrator.jobs.client.time.sleep", lambda seconds: None)
    api = connect(target)
    package = tmp_path / "job.zip"
    write_package(package, SPEC)
    excuses = [
        "No available agent to submit job, please try again later.",
        "Traceback ...\naiohttp.ClientConnectorError: Cannot connect to host 127.0.0.1:52365",
    ]
    dashboard.no_agent = list(excuses)
    api.submit("run-try-1", SPEC, package)
    assert list(dashboard.jobs) == ["run-try-1"]
    dashboard.no_agent = ["Traceback ...\nasyncio.exceptions.TimeoutError"]
    api.stop("run-try-1")
    assert dashboard.jobs["run-try-1"]["status"] == "STOPPED"
    monkeypatch.setattr("orchestrator.jobs.client._AGENT_S", -1.0)
    dashboard.no_agent = list(excuses)
    with pytest.raises(NoAgent, match="has no job agent on its head that answers"):
        api.submit("run-try-2", SPEC, package)


def test_the_token_is_in_no_body_and_no_path(dashboard, target, tmp_path):
    api = connect(target)
    package = tmp_path / "job.zip"
    write_package(package, SPEC)
    api.submit("run-try-1", SPEC, package)
    assert not [line for line in dashboard.heard if TOKEN in line]
    assert not [body for body in dashboard.bodies if TOKEN.encode() in body]
    assert TOKEN not in str(dashboard.jobs)


def test_nobody_there(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(BadInput, match=f"the cluster at {url} cannot be reached"):
        connect(Target(url))


def test_a_server_that_never_answers(monkeypatch):
    monkeypatch.setattr("orchestrator.jobs.client._FIRST_TIMEOUT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BadInput, match="cannot be reached"):
            connect(Target(url))


@pytest.mark.parametrize(
    ("token", "sentence"),
    [("wrong", "refuses the token of /home/ada/token"), (None, "wants a token: name its file")],
)
def test_a_wrong_token_and_none(dashboard, token, sentence):
    with pytest.raises(BadInput, match=sentence) as told:
        connect(Target(dashboard.url, token, "/home/ada/token"))
    assert "wrong" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_foreign_ray(dashboard, target):
    dashboard.answers["/api/version"]["ray_version"] = "2.59.0"
    with pytest.raises(BadInput, match=r"runs Ray 2\.59\.0, this is Ray 2"):
        connect(target)
    assert dashboard.heard.count("POST /api/jobs/") == 0


def test_a_foreign_python(dashboard, target):
    dashboard.answers["/api/v0/cluster_metadata"]["data"]["pythonVersion"] = "3.9.1"
    with pytest.raises(BadInput, match=r"runs Python 3\.9\.1, this is Python 3"):
        connect(target)


@pytest.mark.parametrize("answer", ["<html>", {"version": "4"}])
def test_another_server(dashboard, target, answer):
    dashboard.answers["/api/version"] = answer
    with pytest.raises(BadInput, match="is not the dashboard of a Ray cluster"):
        connect(target)


def test_an_address_in_the_environment_does_not_lead_elsewhere(dashboard, target, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    connect(target)
    import os

    assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:1"


def test_an_unknown_job(target):
    api = connect(target)
    for ask in (api.get, api.stop, api.read_log):
        with pytest.raises(BadInput, match="job nobody is not known there"):
            ask("nobody")


def test_a_cluster_that_goes_away_or_fails(dashboard, target, monkeypatch):
    api = connect(target)
    dashboard.answers["/api/jobs/"] = "a page"
    with pytest.raises(HadError):
        api.list()
    api._client._address = "http://127.0.0.1:1"
    with pytest.raises(ConnectionLost, match="does not answer any more"):
        api.list()
    assert api.head() is None
    with pytest.raises(ConnectionLost):
        list(api.tail("x", 1.0))


def test_a_package_is_uploaded_by_its_content(dashboard, target, tmp_path: Path):
    api = connect(target)
    package = tmp_path / "job.zip"
    write_package(package, SPEC)
    for number in (1, 2):
        api.submit(f"run-try-{number}", SPEC, package)
    uploads = [line for line in dashboard.heard if line.startswith("PUT")]
    assert len(uploads) == 1
    assert dashboard.jobs["run-try-1"]["runtime_env"]["working_dir"].startswith("gcs://")
