"""``had cluster up --local 3`` and what one submits to it: for real, in few and long tests."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from local_cluster import Had, local_cluster
from processes import command_of, listening, wait_until

from orchestrator.execution import formats
from orchestrator.jobs.local.processes import of_cluster
from orchestrator.jobs.local.state import LocalCluster
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store

_LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with local_cluster(tmp_path_factory.mktemp("cluster"), 3) as (had, cluster):
        yield had, cluster


def words(dataset, store: Path, name: str, *more: str) -> list[str]:
    return [
        *(f"dataset.path={dataset.path}", f"store.root={store}", f"name={name}"),
        *("tasks=[semantic,depth]", "reference=naive", "train.epochs=150", "train.batch_size=4"),
        *("net.decoder_channels=8", "net.aspp_rates=[1,2,3]", *more),
    ]


def contents(root: Path) -> dict[str, object]:
    """Every net's bytes and every row, by key."""
    store = Store.open(root)
    found: dict[str, object] = {}
    for key in store.keys(ArtifactKind.FIT):
        sealed = store.load(ArtifactKind.FIT, key)
        assert sealed is not None
        found[key] = sealed.read(formats.NET)
    found |= {key: formats.read_row(store, key) for key in store.keys(ArtifactKind.EVAL)}
    return found


def test_a_run_submitted_stopped_and_continued_equals_the_run_made_here(
    up, micro_dataset, tmp_path
):
    had, cluster = up
    store = tmp_path / "store"
    submitted = words(micro_dataset, store, "try", "cluster.lanes=2")
    done = had("submit", "run", *submitted, "--detach", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)["job"]["id"]
    again = json.loads(had("submit", "run", *submitted, "--detach", "--json").stdout)
    assert (again["attached"], again["job"]["id"]) == (True, job)
    other = had("submit", "run", *submitted, "train.lr=0.5", "--detach")
    assert (other.returncode, f"had stop {job} first" in other.stderr) == (2, True)

    assert wait_until(lambda: bool(list(store.glob("partial/*/*/*"))), 300), "nothing was trained"
    check_listens_inside(cluster)
    done = had("stop", job, "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "stopped"), done.stderr
    assert mlflow_states(store).isdisjoint({"RUNNING", "SCHEDULED"})
    kept = contents(store)
    assert len(kept) < 6, "stopped too late to show anything"
    assert list(store.glob("partial/*/*/*")), "the progress is lost"

    done = had("submit", "run", *submitted, "--json")
    assert done.returncode == 0, done.stderr
    assert "continues what 1 before it did" in done.stderr
    result = json.loads(done.stdout)
    assert (result["name"], len(result["sequences"])) == ("try", 2)
    assert mlflow_states(store) == {"FINISHED"}

    here = tmp_path / "here"
    local = words(micro_dataset, here, "try", "cluster=inline", "cluster.threads=1", "tracking=off")
    assert had("run", *local).returncode == 0
    assert contents(store) == contents(here)

    jobs = json.loads(had("jobs", "--json").stdout)["jobs"]
    assert [(j["state"], j["exit_code"]) for j in jobs] == [("stopped", None), ("succeeded", 0)]
    logs = had("logs", "try").stdout
    assert "had: semantic → depth, seed 0" in logs and "@had" not in logs
    check_no_secret(Path(cluster.token_path), store, had)
    assert stat.S_IMODE(had.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((had.state / "cluster.json").stat().st_mode) == 0o600


def mlflow_states(store: Path) -> set[str]:
    from mlflow.tracking.client import MlflowClient

    client = MlflowClient(f"sqlite:///{store}/mlflow/mlflow.db")
    runs = [
        run
        for experiment in client.search_experiments()
        for run in client.search_runs([experiment.experiment_id])
    ]
    assert runs
    return {run.info.status for run in runs}


def check_no_secret(token_path: Path, store: Path, had: Had) -> None:
    """The token is in one file: not in logs, MLflow, the job's metadata or a command line."""
    token = token_path.read_bytes().strip()
    assert len(token) == 64
    assert stat.S_IMODE(token_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(token_path.parent.stat().st_mode) == 0o700
    for folder in (token_path.parent, store, had.state):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path != token_path:
                assert token not in path.read_bytes(), path
    assert token.decode() not in had("jobs", "--all", "--json").stdout
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            assert token not in command


def check_listens_inside(cluster: LocalCluster) -> None:
    """Also while lanes train, nothing of the cluster can be reached from another machine."""
    processes = {process.pid for process in of_cluster(cluster.id)}
    commands = {command_of(pid).partition("(")[0] for pid in processes}
    assert any("RayTrainWorker" in command for command in commands)
    addresses = listening(processes)
    assert addresses and addresses <= _LOOPBACK


def test_bad_input_is_one_sentence_and_starts_nothing(up, micro_dataset, tmp_path):
    had, _ = up
    before = had("jobs", "--json").stdout
    run = ["submit", "run", *words(micro_dataset, tmp_path / "store", "never")]
    done = had(*run, RAY_AUTH_TOKEN="wrong")
    assert (done.returncode, done.stdout) == (2, "")
    assert "refuses the token of RAY_AUTH_TOKEN" in done.stderr
    done = had(*run, "--address", "http://127.0.0.1:1")
    assert (done.returncode, "cannot be reached" in done.stderr) == (2, True)
    done = had("cluster", "up", "--local", "1")
    assert (done.returncode, "is up already" in done.stderr) == (2, True)
    assert had("jobs", "--json").stdout == before
    # This one is seen on the cluster: its exit code and its sentence come back.
    done = had(*run, "cluster.workers=4", "cluster.threads=4")
    assert done.returncode == 2, done.stderr
    assert "wants 16 CPUs, there are" in done.stderr
    assert os.listdir(tmp_path) in ([], ["store"])
