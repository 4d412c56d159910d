from __future__ import annotations

import os
import signal
import stat
import sys

import pytest

from had_core.errors import BadInput
from orchestrator.execution import cluster, environment, scratch
from orchestrator.execution.cluster import ClusterSettings, placed


@pytest.mark.parametrize(
    ("settings", "nodes", "threads"),
    [
        ({"workers": 2}, [2], 1),
        ({"workers": 1}, [2], 2),
        ({"workers": 2, "lanes": 2}, [16], 4),
        ({"workers": 3}, [4, 4], 2),  # 2 of 2 on one node, 1 on the other
        ({"workers": 2}, [3, 3], 3),
        ({"workers": 4}, [3, 3], 1),
        ({"workers": 2, "threads": 1}, [16], 1),
    ],
)
def test_threads_share_out_what_there_is(settings, nodes, threads):
    resources = [{"CPU": float(cpus)} for cpus in nodes]
    assert placed(ClusterSettings(**settings), resources).threads == threads


@pytest.mark.parametrize(
    ("settings", "nodes", "lanes", "threads"),
    [
        ({}, [{"CPU": 2.0}], 2, 1),
        ({"threads": 2}, [{"CPU": 2.0}], 1, 2),
        ({"workers": 2}, [{"CPU": 3.0}, {"CPU": 2.0}], 2, 1),
        ({"workers": 2, "threads": 2}, [{"CPU": 3.0}, {"CPU": 2.0}], 1, 2),
        ({}, [{"CPU": 1.0}], 1, 1),
        ({"gpu": True}, [{"CPU": 16.0, "GPU": 3.0}], 3, 1),
    ],
)
def test_as_many_lanes_as_fit(settings, nodes, lanes, threads):
    found = placed(ClusterSettings(lanes=None, **settings), nodes)
    assert (found.lanes, found.threads) == (lanes, threads)


@pytest.mark.parametrize(
    ("settings", "nodes", "message"),
    [
        ({"lanes": None, "workers": 3}, [{"CPU": 2.0}], "wants 3 CPUs, there are 2"),
        ({"workers": 3}, [{"CPU": 2.0}], "cluster.workers=3 x cluster.threads=1 wants 3 CPUs"),
        ({"workers": 2, "threads": 2}, [{"CPU": 2.0}], "wants 4 CPUs, there are 2"),
        ({"lanes": 2, "workers": 2}, [{"CPU": 2.0}], "cluster.lanes=2 x cluster.workers=2"),
        ({"workers": 1, "threads": 2}, [{"CPU": 1.0}, {"CPU": 1.0}], "room for 0 of 2 CPUs"),
        ({"workers": 2, "gpu": True}, [{"CPU": 8.0, "GPU": 1.0}], "wants 2 GPUs, there are 1"),
        ({"workers": 1, "gpu": True}, [{"CPU": 8.0}], "wants 1 GPUs, there are 0"),
    ],
)
def test_what_could_never_be_placed_is_refused(settings, nodes, message):
    with pytest.raises(BadInput, match=message):
        placed(ClusterSettings(**settings), nodes)


@pytest.mark.parametrize("name", ["lanes", "workers", "threads", "cpus"])
def test_settings_name_the_key(name):
    with pytest.raises(BadInput, match=f"cluster.{name}=0"):
        ClusterSettings(**{name: 0})


def test_too_many_workers_are_refused_before_ray_is_imported():
    settings = ClusterSettings(cpus=2, workers=5)
    before = "ray" in sys.modules
    with pytest.raises(BadInput, match="wants 5 CPUs"), cluster.connect(settings):
        pass
    assert ("ray" in sys.modules) == before


def test_scratch_is_private_short_and_gone_afterwards(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch, "short_root", lambda: tmp_path)
    with scratch.scratch_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        variables = environment.private_environment(folder)
        token = folder / "token"
        assert variables["RAY_AUTH_TOKEN_PATH"] == str(token)
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert len(token.read_text()) == 64
    assert not folder.exists()


def test_a_long_temporary_folder_is_avoided(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 60)
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(long))
    assert len(str(scratch.short_root())) < 20


def test_folders_of_killed_drivers_are_swept_and_living_ones_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch, "short_root", lambda: tmp_path)
    dead, foreign = tmp_path / "had-ray-dead", tmp_path / "had-ray-notours"
    for folder in (dead, foreign):
        folder.mkdir()
    (dead / "owner").touch()
    with scratch.scratch_folder() as living, scratch.scratch_folder() as second:
        assert not dead.exists()
        assert foreign.exists()  # no lock file: not known to be a driver's
        assert living.exists() and second.exists()


def test_the_lock_goes_with_the_process(tmp_path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = scratch.lock_of(tmp_path)
        os.write(writer, b"1" if held else b"0")
        signal.pause()
    assert os.read(reader, 1) == b"1"
    assert scratch.lock_of(tmp_path) is None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    lock = scratch.lock_of(tmp_path)
    assert lock is not None
    lock.close()


def test_a_job_ships_no_code_again(monkeypatch):
    monkeypatch.delenv(environment.SHIPPED, raising=False)
    assert len(cluster._shipped_code()["py_modules"]) == 2
    monkeypatch.setenv(environment.SHIPPED, "1")
    assert cluster._shipped_code() == {}


def test_the_code_path_leads_to_this_code():
    for folder in environment.code_folders():
        assert os.path.isabs(folder)
    assert any(os.path.exists(os.path.join(f, "orchestrator")) for f in environment.code_folders())
