"""Reading: any rows in any order, exactly what was written; damage is found and named."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from had_core.data.shards import ShardDataset
from had_core.errors import BadInput, CorruptArtifact

once = settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    image_dtype=st.sampled_from(["uint8", "float32"]),
    data=st.data(),
)
@once
def test_rows_come_back_in_the_order_asked_for(write_set, sizes, image_dtype, data) -> None:
    path, values = write_set(tuple(sizes), image_dtype=image_dtype, seed=sum(sizes))
    for name in ("train", "test"):
        split, written = ShardDataset.open(path).split(name), values[name]
        count = sum(sizes)
        assert len(split) == count
        rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=9)), np.int64)
        scale = 255 if image_dtype == "uint8" else 1
        expected = (written["image"][rows] / scale).astype(np.float32)
        images = split.images(rows)
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images, expected)
        for task in split.tasks:
            targets = split.targets(task, rows)
            assert targets.dtype == (np.int64 if task == "parts" else np.float32)
            np.testing.assert_array_equal(targets, written[task][rows])


def test_batches_are_the_callers_to_write_to(write_set) -> None:
    path, values = write_set((3, 2), image_dtype="float32")
    split = ShardDataset.open(path).split("train")
    rows = np.array([1, 2])
    split.images(rows)[...] = 7
    split.targets("depth", rows)[...] = 7
    np.testing.assert_array_equal(split.images(rows), values["train"]["image"][rows])
    np.testing.assert_array_equal(split.targets("depth", rows), values["train"]["depth"][rows])


def test_labelled_tells_images_without_a_valid_pixel(write_set) -> None:
    def blank(arrays: dict[str, np.ndarray]) -> None:
        arrays["parts"][1], arrays["depth"][0], arrays["normal"][4] = -1, 0, 0
        arrays["edge"][2], arrays["shade"][3] = 255, 0
        arrays["parts"][3] = -1
        arrays["parts"][3, -1, -1] = 0  # a single valid pixel is enough

    path, _ = write_set((3, 2), edit=blank)
    split = ShardDataset.open(path).split("train")
    rows = np.array([4, 3, 2, 1, 0, 0])
    expected = {
        "parts": [1, 1, 1, 0, 1, 1],
        "depth": [1, 1, 1, 1, 0, 0],
        "normal": [0, 1, 1, 1, 1, 1],
        "edge": [1, 1, 0, 1, 1, 1],
        "shade": [1, 1, 1, 1, 1, 1],
    }
    for task, wanted in expected.items():
        assert split.labelled(task, rows).tolist() == [bool(w) for w in wanted], task


def test_labelled_finds_a_late_pixel_of_a_large_image(monkeypatch, write_set) -> None:
    monkeypatch.setattr("had_core.data.shards._PROBE", 5)

    def blank(arrays: dict[str, np.ndarray]) -> None:
        arrays["normal"][:] = 0
        arrays["normal"][2, -1, -1] = (0, 0, -1)

    path, _ = write_set((5,), edit=blank)
    labelled = ShardDataset.open(path).split("train").labelled("normal", np.arange(5))
    assert labelled.tolist() == [False, False, True, False, False]


def test_columns_are_views_of_the_file(write_set) -> None:
    path, values = write_set((4,))
    split = ShardDataset.open(path).split("train")
    before = pa.total_allocated_bytes()
    view = split.stored("normal", 2)
    assert not view.flags.owndata and not view.flags.writeable
    assert np.shares_memory(view, split.stored("normal", 2))
    assert pa.total_allocated_bytes() == before
    np.testing.assert_array_equal(view, values["train"]["normal"][2])


def test_a_batch_costs_its_own_size(rooms: ShardDataset) -> None:
    split, rows = rooms.split("train"), np.arange(4)
    split.images(rows)
    tracemalloc.start()
    batch = split.images(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert batch.nbytes <= peak < 1.2 * batch.nbytes + 20_000


@pytest.mark.parametrize("rows", [[-1], [5], [0, 99]])
def test_rows_outside_the_split(write_set, rows) -> None:
    split = ShardDataset.open(write_set((5,))[0]).split("train")
    with pytest.raises(IndexError, match=r"rows 0\.\.4"):
        split.images(np.array(rows))


def test_rows_must_be_a_vector_of_integers(write_set) -> None:
    split = ShardDataset.open(write_set((5,))[0]).split("train")
    for rows in (np.array([0.0]), np.array([[0]])):
        with pytest.raises(TypeError, match="rows are"):
            split.images(rows)


def test_unknown_names_are_refused(write_set) -> None:
    dataset = ShardDataset.open(write_set((5,))[0])
    with pytest.raises(BadInput, match=r"split 'val' is not in .* allowed is one of test, train"):
        dataset.split("val")
    with pytest.raises(BadInput, match=r"task 'deep' is not in .* one of parts, depth, normal"):
        dataset.split("train").targets("deep", np.array([0]))


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), test=st.booleans())
@once
def test_any_flipped_bit_names_its_shard(write_set, share, bit, test) -> None:
    path, _ = write_set((3, 2))
    name = "test-00000.arrow" if test else "train-00001.arrow"
    content = bytearray((path / name).read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    (path / name).write_bytes(content)
    with pytest.raises(CorruptArtifact, match=f"shard '{name}' .* is damaged"):
        ShardDataset.open(path, verify=True)


def test_sound_data_set_verifies(write_set) -> None:
    path, _ = write_set((3, 2))
    assert ShardDataset.open(path, verify=True).fingerprint == ShardDataset.open(path).fingerprint


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"x" * 5000, None])
def test_opening_reads_no_shard_but_reading_a_ruined_one_names_it(write_set, content) -> None:
    path, _ = write_set((3, 2))
    whole = (path / "train-00001.arrow").read_bytes()
    ruined = whole[: len(whole) // 2] if content is None else content
    (path / "train-00001.arrow").write_bytes(ruined)
    split = ShardDataset.open(path).split("train")
    assert split.images(np.array([0, 2])).shape == (2, 4, 6, 3)
    with pytest.raises(CorruptArtifact, match=r"train-00001\.arrow"):
        split.images(np.array([3]))


def test_a_shard_of_another_data_set_is_refused(write_set) -> None:
    path, _ = write_set((3, 2))
    (path / "train-00000.arrow").write_bytes((path / "train-00001.arrow").read_bytes())
    with pytest.raises(CorruptArtifact, match=r"train-00000\.arrow"):
        ShardDataset.open(path).split("train").images(np.array([0]))


def test_missing_shard(write_set) -> None:
    path, _ = write_set((3, 2))
    (path / "test-00001.arrow").unlink()
    with pytest.raises(BadInput, match=r"shard 'test-00001.arrow' .* is missing"):
        ShardDataset.open(path)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a data set"):
        ShardDataset.open(tmp_path / "nowhere")


def test_path_is_absolute(write_set, monkeypatch) -> None:
    path, _ = write_set((3,))
    monkeypatch.chdir(path.parent)
    dataset = ShardDataset.open(path.name)
    monkeypatch.chdir("/")
    assert dataset.path == path
    assert len(dataset.split("train").images(np.array([0]))) == 1
