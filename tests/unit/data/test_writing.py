"""Writing: all or nothing, the first of two wins, the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from had_core.data.manifest import ColumnSpec, DatasetManifest
from had_core.data.shards import ShardDataset
from had_core.data.writing import publish, rows_per_shard, staged, write_shard
from had_core.errors import BadInput

REPOSITORY = Path(__file__).resolve().parents[3]


def everything(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def test_the_same_values_give_the_same_bytes(write_set) -> None:
    (one, _), (two, _) = write_set((3, 2), seed=3), write_set((3, 2), seed=3)
    for file in everything(one):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    assert everything(one) == everything(two)


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "a/b/set") as folder:
        (folder / "half").write_text("written")
        raise ZeroDivisionError
    assert everything(tmp_path) == set()


def test_parents_that_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a/b/set"):
        raise KeyboardInterrupt
    assert everything(tmp_path) == {"a"}


def test_nothing_is_seen_before_it_is_complete(write_set, tmp_path: Path) -> None:
    source, _ = write_set((2,))
    manifest, dst = DatasetManifest.read(source), tmp_path / "out"
    with staged(dst) as folder:
        for entry in (e for s in manifest.splits.values() for e in s.shards):
            (folder / entry.file).write_bytes((source / entry.file).read_bytes())
        assert not dst.exists()
        publish(folder, dst, manifest)
    assert ShardDataset.open(dst, verify=True).fingerprint == manifest.fingerprint
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_first_of_two_writers_wins(write_set, tmp_path: Path) -> None:
    first, _ = write_set((3, 2), seed=1, name="same")
    inode = (first / "train-00000.arrow").stat().st_ino
    again, _ = write_set((3, 2), seed=1, name="same")
    assert (again / "train-00000.arrow").stat().st_ino == inode
    with pytest.raises(BadInput, match="already exists and holds something else"):
        write_set((3, 2), seed=2, name="same")
    assert everything(tmp_path) == {"same"} | {f"same/{p}" for p in everything(first)}
    ShardDataset.open(first, verify=True)


def test_an_empty_folder_is_filled_a_full_one_is_not(write_set, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    path, _ = write_set((2,), name="empty")
    assert ShardDataset.open(path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds something else"):
        write_set((2,), name="full")
    assert (tmp_path / "full/notes.txt").read_text() == "mine"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"), staged(tmp_path / "file/set"):
        pass


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match=r"'.*set' cannot be written: No space left on device"),
        staged(tmp_path / "set"),
    ):
        raise OSError(28, "No space left on device")


def test_arrays_must_fit_their_columns(tmp_path: Path) -> None:
    columns = (ColumnSpec("image", "uint8", (2, 2, 3)),)
    for bad in (np.zeros((1, 2, 2, 3), np.float32), np.zeros((1, 2, 3, 3), np.uint8)):
        with pytest.raises(ValueError, match="column 'image'"):
            write_shard(tmp_path, "x.arrow", columns, {"image": bad})


def test_shards_are_of_bounded_size(monkeypatch) -> None:
    columns = (ColumnSpec("image", "uint8", (10, 10, 3)), ColumnSpec("d", "float32", (10, 10, 1)))
    monkeypatch.setattr("had_core.data.writing.SHARD_BYTES", 7000)
    assert rows_per_shard(columns) == 10
    monkeypatch.setattr("had_core.data.writing.SHARD_BYTES", 10)
    assert rows_per_shard(columns) == 1


def test_what_a_killed_process_left_is_removed_what_a_live_one_uses_is_not(tmp_path: Path) -> None:
    dst, other = tmp_path / "set", tmp_path / "other"
    killed = textwrap.dedent(
        f"""
        import os, pathlib
        from had_core.data.writing import staged
        with staged(pathlib.Path({str(dst)!r})) as folder:
            (folder / "half").write_text("written")
            os.kill(os.getpid(), 9)
        """
    )
    subprocess.run([sys.executable, "-c", killed], cwd=REPOSITORY, check=False)
    assert len(everything(tmp_path)) == 2
    with staged(other):
        assert len(everything(tmp_path)) == 3  # not another data set's
    with staged(dst) as live:
        assert everything(tmp_path) == {live.name}
        with staged(dst) as second:
            assert everything(tmp_path) == {live.name, second.name}
    assert everything(tmp_path) == set()
