"""The full check: what is in a data set, and everything that is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from had_core.canonical import canonical_json
from had_core.data.check import check
from had_core.data.manifest import MANIFEST_FILE
from had_core.data.shards import ShardDataset
from had_core.errors import BadInput, CorruptArtifact

Columns = dict[str, np.ndarray]


def test_report_counts_what_is_there(write_set) -> None:
    path, values = write_set((3, 2))
    report = check(path)
    assert report.ok and report.fingerprint == ShardDataset.open(path).fingerprint
    assert [(s.name, s.count) for s in report.splits] == [("test", 5), ("train", 5)]
    train, written = report.splits[1], values["train"]
    assert train.image_minimum == written["image"].min() / 255
    assert train.image_maximum == written["image"].max() / 255
    parts, depth, normal, edge, shade = train.tasks
    valid = written["parts"] >= 0
    assert parts.valid_share == pytest.approx(valid.mean())
    counts = np.bincount(written["parts"][valid], minlength=5)
    assert parts.class_shares == pytest.approx(tuple(counts / counts.sum()))
    known = written["depth"] != 0
    assert depth.valid_share == pytest.approx(known.mean())
    assert depth.minimum == written["depth"][known].min()
    assert depth.maximum == written["depth"].max()
    assert normal.valid_share == pytest.approx((written["normal"] != 0).any(axis=-1).mean())
    assert edge.valid_share == pytest.approx((written["edge"] != 255).mean())
    assert (edge.minimum, edge.maximum) == (0, 1)
    assert shade.valid_share == 1 and shade.labelled_images == 5
    assert canonical_json(report)  # plain values: the command line prints it as JSON


def test_unlabelled_images_are_counted(write_set) -> None:
    def blank(arrays: Columns) -> None:
        arrays["depth"][:4] = 0
        arrays["parts"][:] = -1

    parts, depth, *_ = check(write_set((3, 2), edit=blank)[0]).splits[1].tasks
    assert depth.labelled_images == 1
    assert (parts.valid_share, parts.labelled_images, parts.minimum) == (0, 0, None)
    assert parts.class_shares == (0,) * 5


def assign(name: str, value: object, index: tuple = (4, 0, 0)) -> Callable[[Columns], None]:
    def edit(arrays: Columns) -> None:
        arrays[name][index] = value

    return edit


WRONG = {
    "label": (assign("parts", 5), "task 'parts' holds labels outside 0 to 4"),
    "label below": (assign("parts", -2), "task 'parts' holds labels outside 0 to 4"),
    "depth NaN": (assign("depth", np.nan), "task 'depth' holds NaN or infinite values"),
    "depth negative": (assign("depth", -1), "task 'depth' holds valid values of 0 or less"),
    "shade inf": (assign("shade", np.inf), "task 'shade' holds NaN or infinite values"),
    "normal": (assign("normal", (0, 0, 2)), "task 'normal' holds vectors whose length is not 1"),
    "edge": (assign("edge", 7), "task 'edge' holds values other than 0 and 1"),
    "image": (assign("image", 1.5), "an image holds values outside 0 to 1"),
    "image NaN": (assign("image", np.nan), "an image holds values outside 0 to 1"),
}


@pytest.mark.parametrize(("edit", "message"), WRONG.values(), ids=WRONG)
def test_wrong_values_name_shard_and_task(write_set, edit, message) -> None:
    path, _ = write_set((3, 2), edit=edit, image_dtype="float32")
    with pytest.raises(BadInput, match=f"shard 'test-00001.arrow': {message}") as caught:
        check(path)
    assert "train-00000.arrow" not in str(caught.value)
    report = check(path, strict=False)
    assert not report.ok and len(report.problems) == 2  # one a split


def test_every_problem_is_collected(write_set) -> None:
    path, _ = write_set((3, 2), edit=assign("edge", 9))
    for name in ("train-00000.arrow", "test-00001.arrow"):
        content = bytearray((path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (path / name).write_bytes(content)
    (path / "test-00000.arrow").unlink()
    with pytest.raises(CorruptArtifact, match=r"test-00000.arrow.*is missing.*test-00001.arrow"):
        check(path)
    problems = check(path, strict=False).problems
    assert len(problems) == 4
    assert "train-00000.arrow" in problems[2] and "is damaged" in problems[2]
    assert "train-00001.arrow" in problems[3] and "'edge'" in problems[3]


def test_a_manifest_of_other_data_is_found(write_set) -> None:
    (one, _), (two, _) = write_set((3, 2), seed=1), write_set((3, 2), seed=9)
    (one / MANIFEST_FILE).write_bytes((two / MANIFEST_FILE).read_bytes())
    with pytest.raises(CorruptArtifact, match="is damaged"):
        check(one)


def test_missing_data_set(tmp_path) -> None:
    with pytest.raises(BadInput, match="is not a data set"):
        check(tmp_path)


def test_rooms_are_sound(rooms: ShardDataset) -> None:
    report = check(rooms.path)
    assert dataclasses.asdict(report)["problems"] == ()
    assert all(task.valid_share == 1 for split in report.splits for task in split.tasks)
