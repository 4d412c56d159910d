"""Importing the MTAN layout: what it means, and one clear sentence for everything else."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from had_core.data import nyuv2
from had_core.data.check import check
from had_core.data.nyuv2 import CLASSES, import_mtan
from had_core.data.shards import ShardDataset
from had_core.errors import BadInput

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "nyuv2"
Edit = Callable[[Path], object]
DEPTH = "val/depth/1.npy"


def load(root: Path, split: str, domain: str, number: int) -> np.ndarray:
    return np.load(root / split / domain / f"{number}.npy")


def test_values_arrive_unchanged_and_in_numerical_order(mtan: Path, tmp_path: Path) -> None:
    dataset = import_mtan(mtan, tmp_path / "set")
    for split, folder, numbers in (("train", "train", (0, 2, 10)), ("test", "val", (1, 3))):
        part, rows = dataset.split(split), np.arange(len(numbers))
        frames = {
            domain: np.stack([load(mtan, folder, domain, n) for n in numbers])
            for domain in ("image", "label", "depth", "normal")
        }
        np.testing.assert_array_equal(part.images(rows), frames["image"])
        np.testing.assert_array_equal(part.targets("semantic", rows), frames["label"])
        np.testing.assert_array_equal(part.targets("depth", rows), frames["depth"])
        np.testing.assert_allclose(part.targets("normal", rows), frames["normal"], atol=1e-7)
        assert (part.targets("normal", rows)[:, 0, :2] == 0).all()
    assert dataset.split("train").tasks["semantic"].class_names == CLASSES
    assert check(dataset.path).ok


def test_importing_twice_gives_the_same_fingerprint(mtan: Path, tmp_path: Path) -> None:
    one = import_mtan(mtan, tmp_path / "one")
    moved = tmp_path / "moved"
    shutil.copytree(mtan, moved)
    assert import_mtan(moved, tmp_path / "deep/two").fingerprint == one.fingerprint


def test_float64_integers_and_other_files_are_fine(mtan: Path, tmp_path: Path) -> None:
    expected = import_mtan(mtan, tmp_path / "one").fingerprint
    for file in mtan.rglob("*.npy"):
        kind = np.int64 if file.parent.name == "label" else ">f8"
        np.save(file, np.load(file).astype(kind))
    (mtan / "train/image/notes.txt").write_text("not a frame")
    (mtan / "train/image/.0.npy").write_text("a leftover")
    assert import_mtan(mtan, tmp_path / "two").fingerprint == expected


def test_normals_a_little_off_are_normalised(mtan: Path, tmp_path: Path) -> None:
    file = mtan / "train/normal/2.npy"
    true = np.load(file)
    np.save(file, true * np.float32(1.03))
    stored = import_mtan(mtan, tmp_path / "set").split("train").targets("normal", np.array([1]))[0]
    np.testing.assert_allclose(stored, true, atol=1e-6)
    length = np.linalg.norm(stored, axis=-1)
    assert set(np.unique(np.round(length, 6))) == {0.0, 1.0}


def edit_array(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(root: Path) -> None:
        np.save(root / path, change(np.load(root / path)))

    return edit


def put(value: float, index: tuple = (3, 4)) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


def replaced(path: str, content: bytes) -> Edit:
    return lambda root: (root / path).write_bytes(content)


def removed(path: str) -> Edit:
    return lambda root: shutil.rmtree(p) if (p := root / path).is_dir() else p.unlink()


def emptied(split: str) -> Edit:
    return lambda root: [f.unlink() for f in (root / split).rglob("*.npy")]


def renamed(path: str, name: str) -> Edit:
    return lambda root: (root / path).rename((root / path).with_name(name))


def objects(array: np.ndarray) -> np.ndarray:
    return array.astype(object)


BAD: dict[str, tuple[Edit, str]] = {
    "no source": (lambda root: shutil.rmtree(root), r"folder '.*train/image' is missing"),
    "no split": (removed("val"), r"folder '.*/val/image' is missing"),
    "no domain": (removed("train/depth"), r"folder '.*/train/depth' is missing: the MTAN layout"),
    "unequal counts": (
        removed("train/normal/2.npy"),
        r"'.*/train/normal/2.npy' is missing: .*3 image, 3 label, 3 depth, 2 normal",
    ),
    "no image": (removed("val/image/3.npy"), r"'.*/val/image/3.npy' is missing"),
    "empty split": (emptied("val"), r"'.*/val' holds no frames"),
    "name": (renamed("train/image/2.npy", "two.npy"), r"'.*/two.npy' is not allowed"),
    "padded name": (renamed("train/image/2.npy", "02.npy"), r"'.*/02.npy' is not allowed"),
    "channels first": (
        edit_array("train/image/0.npy", lambda a: a.transpose(2, 0, 1)),
        r"image '.*/train/image/0.npy' has shape 3 x 6 x 8, allowed is H x W x 3",
    ),
    "channels first later": (
        edit_array("train/image/2.npy", lambda a: a.transpose(2, 0, 1)),
        r"'.*/train/image/2.npy' has shape 3 x 6 x 8, allowed is 6 x 8 x 3",
    ),
    "another size": (
        edit_array("val/label/1.npy", lambda a: a[:5]),
        r"'.*/val/label/1.npy' has shape 5 x 8, allowed is 6 x 8",
    ),
    "depth without channel": (
        edit_array("train/depth/10.npy", lambda a: a[..., 0]),
        r"'.*/depth/10.npy' has shape 6 x 8, allowed is 6 x 8 x 1",
    ),
    "a number": (
        edit_array("train/depth/10.npy", lambda a: a[0, 0, 0]),
        r"'.*/depth/10.npy' has shape a single number",
    ),
    "8-bit image": (
        edit_array("train/image/2.npy", lambda a: (a * 255).astype(np.uint8)),
        r"'.*/image/2.npy' has dtype uint8, allowed is float32 or float64",
    ),
    "integer depth": (
        edit_array("train/depth/2.npy", lambda a: a.astype(np.int32)),
        r"'.*/depth/2.npy' has dtype int32, allowed is float",
    ),
    "integer normal": (
        edit_array("train/normal/2.npy", lambda a: a.astype(np.int8)),
        r"'.*/normal/2.npy' has dtype int8, allowed is float",
    ),
    "text label": (
        edit_array("train/label/2.npy", lambda a: a.astype("U4")),
        r"'.*/label/2.npy' has dtype <U4, allowed are floats or integers",
    ),
    "complex label": (
        edit_array("train/label/2.npy", lambda a: a.astype(np.complex64)),
        r"'.*/label/2.npy' has dtype complex64",
    ),
    "objects": (edit_array("train/depth/2.npy", objects), r"'.*/depth/2.npy' holds Python objects"),
    "pickle": (
        replaced("train/depth/2.npy", pickle.dumps([1, 2])),
        r"'.*/depth/2.npy' is not a readable .npy file",
    ),
    "not numpy": (replaced("val/label/1.npy", b"hello"), r"'.*/val/label/1.npy' "),
    "empty file": (replaced("val/label/1.npy", b""), r"'.*/label/1.npy' is not a readable .npy"),
    "truncated": (
        lambda root: (p := root / "val/depth/1.npy").write_bytes(p.read_bytes()[:200]),
        r"'.*/val/depth/1.npy' is not a readable .npy file",
    ),
    "archive": (
        lambda root: np.savez(root / "a.npz", a=1) or (root / "a.npz").rename(root / DEPTH),
        r"'.*/val/depth/1.npy' is not a readable .npy file",
    ),
    "label 13": (
        edit_array("val/label/3.npy", put(13)),
        r"label '.*/val/label/3.npy' holds the value 13, allowed are whole numbers from -1 to 12",
    ),
    "label -2": (edit_array("val/label/3.npy", put(-2)), r"label '.*3.npy' holds the value -2"),
    "label 1.5": (edit_array("val/label/3.npy", put(1.5)), r"label '.*' holds the value 1.5"),
    "label NaN": (edit_array("val/label/3.npy", put(np.nan)), r"label '.*' holds the value nan"),
    "depth NaN": (
        edit_array("train/depth/0.npy", put(np.nan)),
        r"depth '.*/train/depth/0.npy' holds the value nan, allowed is a finite number",
    ),
    "depth inf": (edit_array("train/depth/0.npy", put(np.inf)), r"depth '.*' holds the value inf"),
    "depth negative": (
        edit_array("train/depth/0.npy", put(-0.5)),
        r"depth '.*/train/depth/0.npy' holds the value -0.5",
    ),
    "depth overflow": (
        edit_array("train/depth/0.npy", lambda a: a.astype(np.float64) + 1e300),
        r"depth '.*' holds the value inf",
    ),
    "normal NaN": (
        edit_array("val/normal/1.npy", put(np.nan)),
        r"normal '.*/val/normal/1.npy' holds a vector of length nan",
    ),
    "normal one NaN": (
        edit_array("val/normal/1.npy", put(np.nan, (0, 0, 2))),
        r"normal '.*/val/normal/1.npy' holds a vector of length nan",
    ),
    "normal long": (
        edit_array("val/normal/1.npy", lambda a: a * 2),
        r"normal '.*/val/normal/1.npy' holds a vector of length 2, allowed is 1",
    ),
    "normal encoded as colour": (
        edit_array("val/normal/1.npy", lambda a: (a + 1) / 2),
        r"normal '.*/val/normal/1.npy' holds a vector of length",
    ),
    "image 0..255": (
        edit_array("train/image/10.npy", lambda a: a * 255),
        r"image '.*/image/10.npy' holds values from .* to 2\d\d.*, allowed is 0 to 1",
    ),
    "image negative": (edit_array("train/image/10.npy", put(-0.1)), r"image '.*' holds values"),
    "image NaN": (edit_array("train/image/10.npy", put(np.nan)), r"image '.*' holds values"),
}


@pytest.mark.parametrize(("edit", "message"), BAD.values(), ids=BAD)
def test_bad_input(mtan: Path, tmp_path: Path, edit: Edit, message: str) -> None:
    edit(mtan)
    with pytest.raises(BadInput, match=message) as caught:
        import_mtan(mtan, tmp_path / "out" / "set")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir() if p != mtan] == []


def headed(path: str, header: str) -> Edit:
    """The file with another header of 128 bytes."""

    def edit(root: Path) -> None:
        whole = (root / path).read_bytes()
        (root / path).write_bytes(whole[:10] + header.ljust(117).encode() + b"\n" + whole[128:])

    return edit


@pytest.mark.parametrize(
    "header",
    [
        "{[]:1}",
        "{'descr': '<f4', 1: 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, True, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-6, 8, 3)}",
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30}, 8, 3)}}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 8, 3",
        "(" * 100,
    ],
)
def test_a_damaged_header_is_one_sentence(mtan: Path, tmp_path: Path, header: str) -> None:
    headed("train/image/0.npy", header)(mtan)
    with pytest.raises(BadInput, match=r"'.*/train/image/0.npy' is not a readable .npy file"):
        import_mtan(mtan, tmp_path / "set")


def test_no_flipped_bit_of_a_header_escapes(mtan: Path) -> None:
    file = mtan / "train/image/0.npy"
    sound, refused = file.read_bytes(), 0
    for bit in range(8 * 128):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            nyuv2._load(file)  # and not the whole import: the unit tier is quick
        except BadInput as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 900


def test_a_pipe_is_refused_and_not_waited_for(mtan: Path, tmp_path: Path) -> None:
    file = mtan / "val/depth/1.npy"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BadInput, match=r"'.*/val/depth/1.npy' is a folder, pipe or device"):
        import_mtan(mtan, tmp_path / "set")


def test_an_existing_folder_is_left_alone(mtan: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/notes").write_text("mine")
    for target in (tmp_path / "set", mtan, tmp_path / "set/notes"):
        with pytest.raises(BadInput, match=f"'{target}' already exists"):
            import_mtan(mtan, target)
    assert (tmp_path / "set/notes").read_text() == "mine"


@pytest.mark.parametrize("target", ["", ".", "../at", "{}"])
def test_the_current_folder_is_not_replaced(
    mtan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "at").mkdir()
    monkeypatch.chdir(tmp_path / "at")
    with pytest.raises(BadInput, match="/at' is the current folder: choose a new folder"):
        import_mtan(mtan, target.format(tmp_path / "at"))
    assert Path.cwd().samefile(tmp_path / "at") and not any(Path.cwd().iterdir())
    assert sorted(tmp_path.iterdir()) == [tmp_path / "at", mtan]


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path, monkeypatch) -> None:
    values = {"image": np.ones((40, 50, 3)), "label": np.ones((40, 50))}
    values |= {"depth": np.ones((40, 50, 1)), "normal": np.tile([0.0, 0.0, -1.0], (40, 50, 1))}
    frame = 40 * 50 * (4 * 7 + 2)  # as a shard stores it
    monkeypatch.setattr("had_core.data.writing.SHARD_BYTES", 3 * frame)

    def peak(frames: int) -> int:
        source = tmp_path / f"mtan{frames}"
        for split, domain in itertools.product(("train", "val"), values):
            (source / split / domain).mkdir(parents=True)
            for number in range(frames if split == "train" else 1):
                value = values[domain].astype(np.float32)
                np.save(source / split / domain / f"{number}.npy", value)
        tracemalloc.start()
        dataset = import_mtan(source, tmp_path / f"set{frames}")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(dataset.manifest.splits["train"].shards) == frames // 3
        return most

    peak(3)  # imports and caches
    assert abs(peak(42) - peak(6)) < 3 * frame  # of 36 more: their names, and garbage


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/nyuv2 is absent")
def test_real_frames(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="expand.py needs pillow")
    source = tmp_path / "mtan"
    subprocess.run(
        [sys.executable, SHARED / "expand.py", source, "--train", "6", "--val", "3"],
        check=True,
        capture_output=True,
    )
    dataset = import_mtan(source, tmp_path / "set")
    report = check(dataset.path)
    assert [(s.name, s.count) for s in report.splits] == [("test", 3), ("train", 6)]
    semantic, depth, normal = report.splits[1].tasks
    assert 0.5 < semantic.valid_share < 1 and depth.valid_share == 1
    assert 0.9 < normal.valid_share < 1
    assert depth.minimum is not None and depth.maximum is not None
    assert 0.3 < depth.minimum < depth.maximum < 11
    images = dataset.split("train").images(np.array([0]))
    first = min(int(p.stem) for p in (source / "train/image").iterdir())
    np.testing.assert_array_equal(images[0], load(source, "train", "image", first))
    assert isinstance(dataset, ShardDataset)
