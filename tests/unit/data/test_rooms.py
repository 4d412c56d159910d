"""rooms as a data set: decided by its settings alone, built anywhere, shaped like real rooms."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from had_core.data.rooms import CLASSES, TASKS, RoomsConfig, build
from had_core.data.rooms.rendering import render
from had_core.data.shards import ShardDataset
from had_core.errors import BadInput
from had_core.tasks import TaskKind

TINY = RoomsConfig(seed=3, train=3, test=2, height=32, width=40)
REPOSITORY = Path(__file__).resolve().parents[3]


def image_digest(config: RoomsConfig, split: str, index: int) -> str:
    columns = render(config, split, index)
    whole = hashlib.sha256()
    for name in sorted(columns):
        whole.update(columns[name].tobytes())
    return whole.hexdigest()[:16]


def test_golden_images() -> None:
    """Every pixel of every column. Only exactly rounded operations are used, so this holds on
    any machine; if you changed the pictures on purpose, raise ROOMS_VERSION too."""
    config = RoomsConfig(seed=0, height=48, width=64)
    digests = [image_digest(config, "train", 0), image_digest(config, "test", 7)]
    assert digests == ["7f2aa4e6bb40f299", "26a0d34adfdc1c87"]


def test_an_image_depends_on_seed_split_and_number_only() -> None:
    base = image_digest(TINY, "train", 1)
    assert image_digest(dataclasses.replace(TINY, train=99, test=77), "train", 1) == base
    others = [
        image_digest(TINY, "train", 0),
        image_digest(TINY, "test", 1),
        image_digest(dataclasses.replace(TINY, seed=4), "train", 1),
    ]
    assert len({base, *others}) == 4


def test_more_images_keep_the_first_ones(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("had_core.data.writing.SHARD_BYTES", 60_000)  # two images a shard
    few = build(tmp_path / "few", TINY, processes=1)
    many = build(tmp_path / "many", dataclasses.replace(TINY, train=5), processes=1)
    rows = np.arange(3)
    for task in TASKS:
        np.testing.assert_array_equal(
            few.split("train").targets(task.name, rows),
            many.split("train").targets(task.name, rows),
        )
    assert few.split("test").fingerprint == many.split("test").fingerprint
    assert few.split("train").fingerprint != many.split("train").fingerprint


def test_two_scripts_at_once_with_and_without_workers(tmp_path: Path) -> None:
    """Scripts without a main guard: workers must not import the caller. The number of processes
    changes nothing, and the one that comes second takes the data of the first."""
    script = tmp_path / "caller.py"
    script.write_text(
        "import sys\n"
        "from had_core.data.rooms import build, RoomsConfig\n"
        "config = RoomsConfig(seed=3, train=3, test=2, height=32, width=40)\n"
        "print(build('set', config, processes=int(sys.argv[1])).fingerprint)\n"
    )
    callers = [
        subprocess.Popen(
            [sys.executable, str(script), processes],
            cwd=tmp_path,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for processes in ("1", "2")
    ]
    alone = build(tmp_path / "alone", TINY, processes=1)
    answers = [caller.communicate(timeout=6000) for caller in callers]
    assert [caller.returncode for caller in callers] == [0, 0], answers
    assert [answer[0].strip() for answer in answers] == [alone.fingerprint] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone", "caller.py", "set"]
    assert ShardDataset.open(tmp_path / "set", verify=True).manifest == alone.manifest


def test_building_again_is_at_once_and_other_settings_are_refused(tmp_path: Path) -> None:
    first = build(tmp_path / "set", TINY, processes=1)
    stamp = (tmp_path / "set/manifest.json").stat().st_mtime_ns
    assert build(tmp_path / "set", TINY).fingerprint == first.fingerprint
    assert (tmp_path / "set/manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(BadInput, match="already exists and holds something else"):
        build(tmp_path / "set", dataclasses.replace(TINY, seed=4))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with pytest.raises(BadInput, match="already exists and holds something else"):
        build(tmp_path / "other", TINY)


def test_workers_end_with_their_caller(tmp_path: Path) -> None:
    caller = (
        "from pathlib import Path; from had_core.data.rooms import RoomsConfig, rendering\n"
        "config = RoomsConfig(train=1_000_000, test=1, height=32, width=40)\n"
        f"worker = rendering._start(Path({str(tmp_path)!r}), config, 0, 1)\n"
        "print(worker.pid, flush=True); import os; os._exit(0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", caller], cwd=REPOSITORY, stdout=subprocess.PIPE, timeout=600
    )
    worker, until = Path("/proc") / ran.stdout.decode().strip(), time.monotonic() + 120
    while worker.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not worker.exists()


def test_a_failing_worker_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    from had_core.errors import HadError

    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HadError, match="a process that renders rooms failed"):
        build(tmp_path / "set", TINY, processes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("train", 0), ("test", -1), ("train", 1_000_001), ("height", 8), ("width", 99_999)],
)
def test_settings_are_checked(field: str, value: int) -> None:
    with pytest.raises(BadInput, match=f"rooms.{field}={value} is not allowed"):
        RoomsConfig(**{field: value})


def test_tasks_cover_every_kind() -> None:
    assert {task.kind for task in TASKS} == set(TaskKind)
    assert [t.name for t in TASKS] == ["semantic", "depth", "normal", "edge_occlusion", "reshading"]


def test_classes_have_a_long_tail(rooms: ShardDataset) -> None:
    split = rooms.split("train")
    labels = split.targets("semantic", np.arange(len(split)))
    shares = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    ordered = [CLASSES[k] for k in np.argsort(-shares)]
    assert ordered[:2] == ["wall", "floor"]
    assert shares[CLASSES.index("wall")] + shares[CLASSES.index("floor")] > 0.5
    assert len(CLASSES) >= 8 and (shares > 0.001).all()
    assert shares.min() < 0.02 and shares.max() / shares.min() > 20
    in_images = [(labels == k).any(axis=(1, 2)).mean() for k in range(len(CLASSES))]
    assert sum(share < 0.5 for share in in_images) >= 4


def test_values_are_those_of_a_room(rooms: ShardDataset) -> None:
    split, rows = rooms.split("train"), np.arange(40)
    depth, shading = split.targets("depth", rows), split.targets("reshading", rows)
    assert depth.min() > 0.2 and depth.max() < 8.5
    assert shading.min() > 0 and shading.max() <= 1 and shading.std() > 0.1
    edges = split.targets("edge_occlusion", rows)
    assert set(np.unique(edges)) == {0.0, 1.0}
    assert 0.03 < edges.mean() < 0.2
    images = split.images(rows)
    assert 0.4 < images.mean() < 0.8 and images.std() > 0.1
    assert (images.mean(axis=(1, 2, 3)) > 0.25).all() and (images == 1).mean() < 0.05


def test_pictures_show_the_geometry(rooms: ShardDataset) -> None:
    """Brightness steps at occluding edges, and light and texture differ between classes."""
    split, rows = rooms.split("train"), np.arange(40)
    grey = split.images(rows).mean(axis=-1)
    step = np.abs(np.diff(grey, axis=2))
    edges = split.targets("edge_occlusion", rows)[..., 0] > 0
    on_edge = edges[:, :, 1:] & edges[:, :, :-1]
    off_edge = ~(edges[:, :, 1:] | edges[:, :, :-1])
    assert step[on_edge].mean() > 2.5 * step[off_edge].mean()
