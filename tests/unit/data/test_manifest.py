"""The manifest: round trips, what its fingerprint covers, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from had_core.data.manifest import MANIFEST_FILE, DatasetManifest, ShardEntry
from had_core.errors import BadInput, CorruptArtifact
from had_core.tasks import DenseTask, TaskKind

DEPTH = DenseTask("depth", TaskKind.SCALAR, 1, invalid=0.0, unit="m", relative_error=True)
NORMAL = DenseTask("normal", TaskKind.UNIT_VECTOR, 3)


def shard(file: str = "a.arrow", rows: int = 2, digit: str = "0") -> ShardEntry:
    return ShardEntry(file, rows, digit * 64)


def complete(**changes: object) -> DatasetManifest:
    fields = {"name": "x", "height": 4, "width": 6, "tasks": (DEPTH,), "splits": {}, **changes}
    manifest = DatasetManifest(**fields)  # type: ignore[arg-type]
    return manifest.with_split("train", (shard(),)).with_split("test", (shard("b.arrow"),))


def saved(folder: Path, manifest: DatasetManifest) -> DatasetManifest:
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return DatasetManifest.read(folder)


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda n: n != "image")
labels = st.builds(
    lambda name, classes, invalid: DenseTask(name, TaskKind.LABELS, classes, invalid),
    names,
    st.integers(2, 300),
    st.sampled_from([None, -1.0, 255.0]),
)
scalars = st.builds(
    lambda name, invalid, unit: DenseTask(name, TaskKind.SCALAR, 1, invalid, unit),
    names,
    st.none() | st.floats(-1e6, 1e6),
    st.text(max_size=3),
)
tasks = st.lists(labels | scalars, min_size=1, max_size=4, unique_by=lambda t: t.name).map(tuple)


@given(tasks, st.integers(1, 999), st.integers(1, 999), st.integers(1, 50))
@settings(max_examples=25)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    tasks: tuple[DenseTask, ...],
    height: int,
    width: int,
    rows: int,
) -> None:
    manifest = complete(tasks=tasks, height=height, width=width, source={"text": "é", "n": [1]})
    manifest = manifest.with_split("train", (shard(rows=rows), shard("c.arrow", 1, "f")))
    again = saved(tmp_path_factory.mktemp("m"), manifest)
    assert again == manifest
    assert again.to_json() == manifest.to_json()
    assert again.fingerprint == manifest.fingerprint
    assert again.splits["train"].count == rows + 1


def test_fingerprint_covers_contents_and_nothing_else() -> None:
    base = complete().splits["train"].fingerprint
    same = [
        complete(name="y"),
        complete(source={"from": "elsewhere"}),
        complete().with_split("train", (shard("renamed.arrow"),)),
    ]
    other = [
        complete(height=5),
        complete(image_dtype="float32"),
        complete(tasks=(DEPTH, NORMAL)),
        complete(tasks=(dataclasses.replace(DEPTH, invalid=-1.0),)),
        complete().with_split("train", (shard(digit="1"),)),
        complete().with_split("train", (shard(rows=3),)),
        complete().with_split("train", (shard(), shard("c.arrow"))),
    ]
    assert {m.splits["train"].fingerprint for m in same} == {base}
    assert len({base, *(m.splits["train"].fingerprint for m in other)}) == len(other) + 1


def test_stored_layout() -> None:
    manifest = complete(tasks=(DEPTH, NORMAL, DenseTask("c", TaskKind.LABELS, 3)))
    assert [(c.name, c.dtype, c.shape) for c in manifest.columns] == [
        ("image", "uint8", (4, 6, 3)),
        ("depth", "float32", (4, 6, 1)),
        ("normal", "float32", (4, 6, 3)),
        ("c", "int16", (4, 6)),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(version=99), "version=99, allowed is 1"),
        (lambda raw: raw.update(extra=1), "extra"),
        (lambda raw: raw.pop("height"), "height"),
        (lambda raw: raw.update(height=0), "height=0"),
        (lambda raw: raw.update(height="4"), "height=4"),
        (lambda raw: raw.update(tasks=[]), "tasks="),
        (lambda raw: raw.update(image_dtype="int8"), "image_dtype=int8"),
        (lambda raw: raw["splits"].pop("test"), "split 'test' is missing"),
        (lambda raw: raw["tasks"][0].update(kind="cubes"), "cubes"),
        (lambda raw: raw["tasks"][0].update(channels=2), "2 channels"),
        (
            lambda raw: raw["splits"]["train"]["shards"][0].update(file="../a.arrow"),
            r"shard file '../a.arrow' is not allowed",
        ),
        (lambda raw: raw["splits"]["train"]["shards"][0].update(rows=0), "rows=0"),
        (lambda raw: raw["splits"]["train"]["shards"][0].update(sha256="xyz"), "sha256=xyz"),
        (lambda raw: raw["splits"]["train"]["shards"][0].update(note=1), "note"),
        (lambda raw: raw["tasks"][0].pop("kind"), r"tasks\[0\].kind is missing: labels, scalar"),
        (lambda raw: raw.update(tasks=None), "tasks=null is not allowed: a list"),
        (
            lambda raw: raw["splits"]["test"].update(shards=[7]),
            r"splits.test.shards\[0\]=7 is not allowed: a mapping with file, rows, sha256",
        ),
        (
            lambda raw: raw["splits"]["train"].update(count=float("inf")),
            "splits.train.count=inf is not allowed: a whole number",
        ),
        (lambda raw: raw.update(source=[]), "source=.* a mapping of names to any value$"),
        (lambda raw: raw.update(source={"a": {"b": float("nan")}}), "nan"),
    ],
)
def test_malformed_manifest_is_refused(tmp_path: Path, change: object, message: str) -> None:
    raw = json.loads(complete().to_json())
    change(raw)  # type: ignore[operator]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=message) as caught:
        DatasetManifest.read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert MANIFEST_FILE in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "\x00\xff", "[" * 10**5, "9" * 5000])
def test_not_a_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=MANIFEST_FILE):
        DatasetManifest.read(tmp_path)


def test_a_deeply_nested_source_is_one_sentence(tmp_path: Path) -> None:
    text = complete().to_json().replace('"source":{', '"source":{"deep":' + "[" * 990 + "]" * 990)
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(BadInput, match="it is nested too deeply"):
        DatasetManifest.read(tmp_path)


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST_FILE)
    with pytest.raises(BadInput, match=f"{MANIFEST_FILE}' is a folder, pipe or device"):
        DatasetManifest.read(tmp_path)


def test_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a data set"):
        DatasetManifest.read(tmp_path / "nothing")


def test_edited_contents_do_not_match_the_fingerprint(tmp_path: Path) -> None:
    raw = json.loads(complete().to_json())
    raw["tasks"][0]["invalid"] = -5.0
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(raw))
    with pytest.raises(CorruptArtifact, match="does not match its own fingerprint"):
        DatasetManifest.read(tmp_path)


@pytest.mark.parametrize(
    "task",
    [
        DenseTask("edge", TaskKind.BINARY, 1, invalid=1.0),
        DenseTask("edge", TaskKind.BINARY, 1, invalid=-1.0),
        DenseTask("parts", TaskKind.LABELS, 3, invalid=1e6),
        DenseTask("parts", TaskKind.LABELS, 3, invalid=-0.5),
    ],
)
def test_invalid_value_must_fit_the_stored_type(task: DenseTask) -> None:
    with pytest.raises(BadInput, match=f"task '{task.name}' has invalid="):
        complete(tasks=(task,))


def test_tasks_need_different_names_other_than_image() -> None:
    for bad in ((DEPTH, DEPTH), (dataclasses.replace(DEPTH, name="image"),)):
        with pytest.raises(BadInput, match="different names"):
            complete(tasks=bad)
