"""The commands on a cluster, against a Jobs API in memory."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fake_jobs import FakeJobs
from typer.testing import CliRunner

from orchestrator.cli.kinds import KINDS, display_of, kind_of
from orchestrator.cli.main import app
from orchestrator.cli.remote import ui_command
from orchestrator.config import RunConfig, TrackingConfig
from orchestrator.jobs.job import JobSpec, JobState
from orchestrator.jobs.local.state import LocalCluster
from orchestrator.jobs.target import Target
from orchestrator.jobs.wire import Call, Result, encode

LOG = "\n".join(
    [
        "building rooms",
        encode(Call("begin", ("try",), {"to_train": 1, "cached": 0})),
        encode(Result({"name": "try"})),
        "the table",
        "run       try",
        "",
    ]
)


class Answering(FakeJobs):
    """Every job writes the log and ends as told."""

    def __init__(self) -> None:
        super().__init__()
        self.log, self.end_as = LOG, (JobState.SUCCEEDED, 0)

    def tail(self, job_id: str, idle_s: float) -> Any:
        yield self.log
        self.end(job_id, *self.end_as)

    def read_log(self, job_id: str) -> str:
        return self.log


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answering:
    made = Answering()
    monkeypatch.setattr("orchestrator.jobs.client.connect", lambda target: made)
    monkeypatch.setattr("orchestrator.cli.jobs._POLL_S", 0.01)
    # Packages hold the job alone; tests/unit/jobs/test_shipping.py is about the code in them.
    monkeypatch.setattr("orchestrator.jobs.shipping._below", lambda folder: ())
    monkeypatch.setenv("HAD_CLUSTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HAD_ADDRESS", "http://127.0.0.1:8265")
    monkeypatch.setenv("HAD_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return made


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def told(api: FakeJobs) -> dict[str, Any]:
    (package,) = api.packages.values()
    found: dict[str, Any] = json.loads(package["job.json"])
    return found


def test_a_run_is_composed_here_shipped_and_followed(api, tmp_path):
    done = call("submit", "run", "tasks=[semantic,depth]", "name=try", "train.epochs=7")
    assert done.exit_code == 0, done.output
    config = RunConfig.from_json(told(api)["payload"]["config"])
    assert (config.name, config.train.epochs) == ("try", 7)
    assert config.store.root == str(tmp_path / "store")
    assert done.stdout == "the table\nrun       try\n"
    assert "try: 1 stage to train, 0 cached" in done.stderr
    assert "building rooms" in done.stderr
    assert "@had" not in done.output


def test_threads_never_follow_from_the_cluster(api):
    call("submit", "run", "name=one")
    config = RunConfig.from_json(told(api)["payload"]["config"])
    assert (config.cluster.address, config.cluster.threads) == (None, 1)
    api.packages.clear()
    call("submit", "run", "name=two", "cluster.threads=3", "cluster.workers=2")
    config = RunConfig.from_json(told(api)["payload"]["config"])
    assert (config.cluster.threads, config.cluster.workers) == (3, 2)


def test_a_job_joins_the_cluster_it_runs_on(monkeypatch):
    from orchestrator.app.preflight import cluster_settings
    from orchestrator.config import ClusterConfig

    assert cluster_settings(ClusterConfig()).address is None
    monkeypatch.setenv("HAD_CODE_SHIPPED", "1")
    assert cluster_settings(ClusterConfig()).address == "auto"
    assert cluster_settings(ClusterConfig(address="a:1")).address == "a:1"


def test_json_is_the_commands_own_document(api):
    done = call("submit", "run", "name=try", "--json")
    assert json.loads(done.stdout) == {"name": "try"}


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ((JobState.FAILED, 2), 2),
        ((JobState.FAILED, 1), 1),
        ((JobState.STOPPED, None), 130),
        ((JobState.FAILED, None), 1),
    ],
)
def test_the_exit_code_is_the_jobs(api, end, code):
    api.end_as = end
    api.log = "had: node gpu-1 does not see the store\n"
    done = call("submit", "run", "name=try")
    assert done.exit_code == code
    assert "node gpu-1 does not see the store" in done.stderr
    assert f": {end[0].value}" in done.stderr
    assert done.stdout == ""


def test_detached_it_is_left_alone_and_attached_to_later(api):
    done = call("submit", "run", "name=try", "--detach")
    (job_id,) = api.jobs
    assert (done.exit_code, done.stdout) == (0, f"{job_id}\n")
    done = call("submit", "run", "name=try", "--detach", "--json")
    shown = json.loads(done.stdout)
    assert (shown["attached"], shown["job"]["id"], shown["job"]["state"]) == (
        True,
        job_id,
        "running",
    )
    assert "is running already: following it" in done.stderr
    assert call("submit", "run", "name=try").exit_code == 0
    done = call("submit", "run", "name=try")
    assert "continues what 1 before it did" in done.stderr
    assert list(api.jobs) == [job_id, job_id[:-1] + "2"]


def test_ctrl_c_leaves_the_job_alone(api, monkeypatch):
    def interrupted(job_id: str, idle_s: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "tail", interrupted)
    done = call("submit", "run", "name=try")
    assert done.exit_code == 130
    assert "the job goes on: had logs run-try-" in done.stderr
    assert api.asked == [f"submit {next(iter(api.jobs))}"]


def test_every_kind_is_told_what_it_needs(api):
    call("submit", "sweep", "name=s", "search=grid", "orders=all", "tasks=[semantic,depth]")
    config = RunConfig.from_json(told(api)["payload"]["config"])
    assert config.search is not None and config.search.sampler.value == "grid"
    assert told(api)["payload"]["more"] == 0
    api.packages.clear()
    call("submit", "sweep", "name=t", "tasks=[semantic,depth]", "--trials", "+5")
    assert told(api)["payload"]["more"] == 5
    assert told(api)["words"][-2:] == ["--trials", "+5"]
    api.packages.clear()
    call("submit", "compare", "name=c", "methods=[naive,had]")
    assert list(RunConfig.from_json(told(api)["payload"]["config"]).compared) == ["naive", "had"]
    api.packages.clear()
    call("submit", "rerun", "abc123", "train.epochs=2", "--store", "/shared/store")
    assert told(api)["payload"] == {
        "stage": "abc123",
        "overrides": ["train.epochs=2"],
        "store": "/shared/store",
        "ancestors": False,
        "descendants": False,
    }
    api.packages.clear()
    call("submit", "rerun", "abc123", "--descendants", "--ancestors", "--store", "/shared/store")
    assert (told(api)["payload"]["ancestors"], told(api)["payload"]["descendants"]) == (True, True)
    assert told(api)["words"] == ["submit", "rerun", "abc123", "--ancestors", "--descendants"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan"], "plan cannot be submitted: one of run, sweep, compare, rerun"),
        (["run", "train.epochs=0"], "train.epochs=0 is not allowed"),
        (["run", "methods=[naive,had]"], "is not allowed in a run of one method"),
        (["run", "cluster=inline"], "cluster.backend=inline is not allowed in had submit"),
        (["run", "cluster.address=a:1"], "cluster.address=a:1 is not allowed in had submit"),
        (["compare"], "methods=null is not allowed in a comparison"),
        (["sweep", "--trials", "1"], "--trials=1 is not allowed"),
        (["sweep", "--trials", "+100001"], "--trials=+100001 is not allowed: +N, the number"),
        (["sweep", "--trials", f"+{'9' * 5000}"], "99... is not allowed: +N"),
        (["run", "--trials", "+1"], "--trials is not allowed: it is for had submit sweep"),
        (
            ["compare", "methods=[naive,had]", "--descendants"],
            "--descendants is not allowed: it is for had submit rerun",
        ),
        (["sweep", "--ancestors"], "--ancestors is not allowed: it is for had submit rerun"),
        (["rerun"], "wants a stage first"),
        (["rerun", "method=had"], "wants a stage first"),
        (["rerun", "abc", "cluster.address=a:1"], "--address names the cluster"),
        (["rerun", "abc", "nonsense"], "'nonsense' is not a setting"),
    ],
)
def test_bad_input_submits_nothing(api, words, said):
    done = call("submit", *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert api.asked == []


def test_bad_clusters_are_one_sentence_and_exit_code_2(monkeypatch, tmp_path):
    monkeypatch.setenv("HAD_CLUSTER_STATE", str(tmp_path))
    monkeypatch.delenv("HAD_ADDRESS", raising=False)
    for words in (["submit", "run", "name=x"], ["jobs"], ["logs", "x"], ["stop", "x"]):
        done = call(*words)
        assert (done.exit_code, "no cluster is named" in done.stderr) == (2, True)
        done = call(*words, "--address", "http://127.0.0.1:1")
        assert (done.exit_code, "cannot be reached" in done.stderr) == (2, True)
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_token_in_the_clear_is_told_but_not_shown(api, tmp_path):
    token = tmp_path / "token"
    token.write_text("0123456789")
    done = call("jobs", "--address", "http://10.0.0.1:8265", "--token-path", str(token))
    assert "everyone on the way can read the token" in done.stderr
    assert "0123456789" not in done.output


def test_jobs_are_listed(api):
    spec = JobSpec("run", "try", "/s", {}, user="ada")
    api.add("run-try-1", spec, at=100.0)
    api.end("run-try-1", JobState.FAILED, 2)
    api.add("raysubmit_x")
    done = call("jobs")
    assert done.exit_code == 0
    row = next(line for line in done.stdout.splitlines() if "run-try-1" in line)
    assert row.split()[:4] == ["run-try-1", "try", "failed", "ada"]
    assert row.split()[-1] == "2"
    assert "raysubmit_x" not in done.stdout
    assert "raysubmit_x" in call("jobs", "--all").stdout
    shown = json.loads(call("jobs", "--json").stdout)
    assert shown["address"] == "http://127.0.0.1:8265"
    assert shown["jobs"] == [
        {
            "id": "run-try-1",
            "state": "failed",
            "kind": "run",
            "name": "try",
            "user": "ada",
            "started": 100.0,
            "ended": 160.0,
            "exit_code": 2,
        }
    ]


def test_no_jobs(api):
    assert call("jobs").stdout == "no jobs\n"


def test_logs_are_shown_as_the_command_would(api):
    api.add("run-try-1", JobSpec("run", "try", "/s", {}))
    done = call("logs", "try")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines == [
        "building rooms",
        "try: 1 stage to train, 0 cached",
        "the table",
        "run       try",
    ]
    api.end_as = (JobState.FAILED, 3)
    done = call("logs", "run-try-1", "--follow")
    assert (done.exit_code, "the table" in done.stdout) == (3, True)


def test_a_played_back_run_took_as_long_as_it_took(api):
    from orchestrator.execution.messages import StageProgress

    def progress(epoch: int, at: float) -> str:
        terms = {"new/depth": 0.5} if epoch > 1 else {}
        event = StageProgress(
            *("a" * 64, "lane-0", 1, 1, ("depth",), "had", ("depth",), epoch, 5, 1, 5, terms)
        )
        return encode(Call("event", (event,), at=at))

    begin = encode(Call("begin", ("try",), {"to_train": 1, "cached": 0}, at=1000.0))
    api.log = "\n".join([begin, progress(1, 1000.0), progress(2, 1100.0), ""])
    api.add("run-try-1", JobSpec("run", "try", "/s", {}))
    (line,) = [text for text in call("logs", "try").stdout.splitlines() if "epoch 1/5" in text]
    # 5 of 25 steps took 100 s, the first one was done before; an hour or nothing would be wrong.
    assert "about 6:2" in line or "about 6:1" in line, line


def test_stop_waits_until_the_job_has_ended(api):
    api.add("run-try-1", JobSpec("run", "try", "/s", {}))
    done = call("stop", "try", "--json")
    assert (done.exit_code, api.asked) == (0, ["stop run-try-1"])
    assert json.loads(done.stdout)["state"] == "stopped"
    done = call("stop", "try")
    assert done.stdout == "job run-try-1: stopped\n"
    assert api.asked == ["stop run-try-1"]


LOCAL = LocalCluster("id", 1, "http://127.0.0.1:8265", "127.0.0.1:1", "/t", 3, 1, "/s")
TUNNEL = Target("http://127.0.0.1:8265")
SQLITE = "'had ui --store /shared/store --port 5000'"


@pytest.mark.parametrize(
    ("target", "head", "uri", "ssh", "command"),
    [
        (TUNNEL, "10.0.0.5", None, None, f"ssh -t -L 5000:127.0.0.1:5000 10.0.0.5 {SQLITE}"),
        (TUNNEL, None, None, None, f"ssh -t -L 5000:127.0.0.1:5000 USER@HEAD {SQLITE}"),
        (TUNNEL, "10.0.0.5", None, "a@h", f"ssh -t -L 5000:127.0.0.1:5000 a@h {SQLITE}"),
        (
            Target("http://head:8265"),
            "10.0.0.5",
            "http://mlflow.lan:8080",
            None,
            "ssh -N -L 5000:mlflow.lan:8080 head",
        ),
        (TUNNEL, "10.0.0.5", "https://mlflow.lan", None, "ssh -N -L 5000:mlflow.lan:443 10.0.0.5"),
        (
            Target("http://127.0.0.1:8265", local=LOCAL),
            "127.0.0.1",
            None,
            None,
            "had ui --store /shared/store --port 5000",
        ),
    ],
)
def test_the_command_that_opens_the_ui(target, head, uri, ssh, command):
    assert ui_command(target, head, "/shared/store", TrackingConfig(uri=uri), ssh) == command


def test_the_ui_command_shows_no_password_and_is_left_out_without_tracking():
    tracking = TrackingConfig(uri="postgresql://ada:secret@db/mlflow")
    shown = ui_command(TUNNEL, "h", "/s", tracking, None)
    assert shown is not None and "secret" not in shown
    assert ui_command(TUNNEL, "h", "/s", TrackingConfig(enabled=False), None) is None


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_has_a_display_that_is_silent_or_writes_lines(kind):
    from rich.console import Console

    for silent in (True, False):
        with display_of(kind, Console(file=io.StringIO()), silent, lambda: 0.0) as display:
            display.note("x")
    assert kind_of(kind).name == kind


def test_cluster_up_and_down(monkeypatch, tmp_path):
    started: list[Any] = []

    def up(*arguments: Any) -> LocalCluster:
        started.append(arguments)
        return LOCAL

    monkeypatch.setattr("orchestrator.jobs.local.control.up", up)
    done = call("cluster", "up", "--local", "3", "--state", str(tmp_path), "--json")
    assert json.loads(done.stdout) == {
        "address": "http://127.0.0.1:8265",
        "nodes": 3,
        "cpus": 1,
        "token_path": "/t",
        "state": str(tmp_path),
    }
    assert started == [(tmp_path, 3, None, 8265)]
    assert "http://127.0.0.1:8265" in call("cluster", "up", "--local", "3").stdout
    assert call("cluster", "up").exit_code == 2
    done = call("cluster", "down", "--state", str(tmp_path), "--json")
    assert json.loads(done.stdout) == {"was_up": False, "stopped_jobs": []}


def test_cluster_up_passes_errors_on(monkeypatch, tmp_path):
    done = call("cluster", "up", "--local", "0", "--state", str(tmp_path))
    assert done.exit_code == 2
    assert "--local=0 is not allowed: 1 to 64" in done.stderr
