"""The local cluster's state and processes, without starting one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from fake_jobs import FakeJobs

from had_core.errors import BadInput
from orchestrator.jobs.job import JobSpec, JobState
from orchestrator.jobs.local import control, processes, state
from orchestrator.jobs.local.farewell import end_jobs, stop_jobs
from orchestrator.jobs.local.state import LocalCluster

CLUSTER = LocalCluster(
    *("f" * 32, 2**30, "http://127.0.0.1:1", "127.0.0.1:2", "/nowhere/token", 3, 1, "/nowhere")
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_is_for_its_owner_only_and_goes_completely(tmp_path):
    folder = tmp_path / "a" / "b"
    state.make_folder(folder)
    state.write_state(folder, CLUSTER)
    assert (mode(folder), mode(folder / state.STATE_FILE)) == (0o700, 0o600)
    assert state.read_state(folder) == CLUSTER
    state.forget(folder)
    assert not folder.exists()
    assert state.read_state(folder) is None


def test_other_files_of_a_named_folder_stay(tmp_path):
    (tmp_path / "mine").touch()
    state.write_state(tmp_path, CLUSTER)
    state.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_others_write_is_refused_and_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(BadInput, match=f"the state folder {tmp_path} is not allowed"):
        state.make_folder(tmp_path)
    assert mode(tmp_path) == 0o777


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be used"):
        state.make_folder(tmp_path / "file" / "x")


def test_where_the_state_lies(monkeypatch, tmp_path):
    assert state.default_folder({"HAD_CLUSTER_STATE": str(tmp_path)}) == tmp_path
    assert state.default_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/had-cluster")
    monkeypatch.setenv("HOME", "/home/ada")
    assert state.default_folder({}) == Path("/home/ada/.local/state/had-cluster")


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / state.STATE_FILE).write_text("{")
    with pytest.raises(BadInput, match=str(tmp_path / state.STATE_FILE)):
        state.read_state(tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"nodes": 0}, "--local=0 is not allowed: 1 to 64"),
        ({"nodes": -1}, "--local=-1 is not allowed"),
        ({"nodes": 65}, "--local=65 is not allowed"),
        ({"nodes": 1, "cpus": 0}, "--cpus=0 is not allowed"),
        ({"nodes": 1, "port": 70000}, "--port=70000 is not allowed"),
    ],
)
def test_numbers_that_are_not_allowed_start_nothing(options, sentence, tmp_path):
    with pytest.raises(BadInput, match=sentence):
        control.up(tmp_path / "state", **options)
    assert state.read_state(tmp_path / "state") is None


def test_a_port_in_use_is_refused(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"--port={port} is not allowed"):
            control.up(tmp_path / "state", 1, port=port)


def test_one_cluster_a_folder(tmp_path):
    state.write_state(tmp_path, CLUSTER)
    lock = state.hold_lock(tmp_path)
    assert lock is not None and state.is_kept(tmp_path)
    with pytest.raises(BadInput, match=r"up already at http://127\.0\.0\.1:1 with 3 nodes"):
        control.up(tmp_path, 1)
    lock.close()
    assert not state.is_kept(tmp_path)


def test_down_without_a_cluster_and_after_its_keeper_was_killed(tmp_path):
    assert control.down(tmp_path) is None
    scratch = tmp_path / "had-ray-x"
    scratch.mkdir()
    cluster = replace(CLUSTER, scratch=str(scratch))
    folder = tmp_path / "state"
    state.make_folder(folder)
    state.write_state(folder, cluster)
    assert control.down(folder) == cluster
    assert not folder.exists() and not scratch.exists()


PARENT = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 1:
    unmarked = {k: v for k, v in os.environ.items() if k != "HAD_CLUSTER_ID"}
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=unmarked)
time.sleep(600)
"""


def start(identity: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, *words], env={**os.environ, processes.MARK: identity}
    )


def test_only_processes_of_this_cluster_are_ended():
    """One without the mark counts where its parent has it: some of Ray's lose it."""
    mark = uuid.uuid4().hex  # another run of these tests may be on this machine
    ours, other = start(mark, "with a child"), start(uuid.uuid4().hex)
    found: set[processes.Process] = set()
    try:
        deadline = time.monotonic() + 60
        while len(found) < 2:
            assert time.monotonic() < deadline
            found = processes.of_cluster(mark)
            time.sleep(0.05)
        assert ours.pid in {process.pid for process in found}
        processes.end_all(found, patience_s=0.2)
        assert ours.wait(60) != 0
        assert not [process for process in found if process.lives()]
        assert other.poll() is None
        assert processes.of_cluster(mark) == set()
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()
        processes.end_all(found, patience_s=0.0)


def test_a_number_that_another_process_has_got_is_not_this_process():
    (mine,) = [p for p in [processes._look(Path(f"/proc/{os.getpid()}"))] if p]
    assert mine.process.lives()
    assert not replace(mine.process, began=mine.process.began - 1).lives()


def test_jobs_end_before_their_cluster():
    api = FakeJobs()
    for name in ("one", "two"):
        api.add(name, JobSpec("run", name, "/s", {}))
    api.end("one", JobState.SUCCEEDED)
    said: list[str] = []
    assert end_jobs(api, said.append) == ["two"]
    assert api.asked == ["stop two"]
    assert said == ["job two ends after this epoch"]


def test_without_a_keeper_no_job_is_asked(tmp_path):
    assert stop_jobs(tmp_path, print) == []
    state.write_state(tmp_path, CLUSTER)
    assert stop_jobs(tmp_path, print) == []
