"""Small data sets: rooms built once, an MTAN folder, and one of every task kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from had_core.data.manifest import SPLITS, DatasetManifest
from had_core.data.rooms import RoomsConfig, build
from had_core.data.shards import ShardDataset
from had_core.data.writing import publish, shard_name, staged, write_shard
from had_core.tasks import DenseTask, TaskKind

KINDS = (
    DenseTask("parts", TaskKind.LABELS, 5, invalid=-1.0),
    DenseTask("depth", TaskKind.SCALAR, 1, invalid=0.0, unit="m", relative_error=True),
    DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
    DenseTask("edge", TaskKind.BINARY, 1, invalid=255.0),
    DenseTask("shade", TaskKind.SCALAR, 1),
)
Columns = dict[str, np.ndarray]
WriteSet = Callable[..., tuple[Path, dict[str, Columns]]]


def random_columns(manifest: DatasetManifest, rows: int, seed: int) -> Columns:
    """Valid random values of every column; about a third of the pixels invalid."""
    draw = np.random.default_rng(seed)
    arrays = {}
    for column in manifest.columns:
        shape = (rows, *column.shape)
        if column.name == "image":
            image = draw.integers(0, 256, shape)
            arrays["image"] = (image / 255 if column.dtype == "float32" else image).astype(
                column.dtype
            )
        elif column.name == "parts":
            arrays["parts"] = draw.integers(-1, 5, shape).astype(np.int16)
        elif column.name == "edge":
            arrays["edge"] = draw.choice(np.array([0, 1, 255], np.uint8), shape)
        elif column.name == "normal":
            vectors = draw.normal(size=shape)
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            arrays["normal"] = (vectors * draw.choice([0, 1, 1], shape[:-1])[..., None]).astype(
                np.float32
            )
        else:
            keep = draw.choice([0, 1, 1], shape) if column.name == "depth" else 1
            arrays[column.name] = (draw.uniform(0.5, 5, shape) * keep).astype(np.float32)
    return arrays


@pytest.fixture
def write_set(tmp_path: Path) -> WriteSet:
    """Write a data set of random values; returns its folder and the values by split."""
    made = iter(range(1000))

    def write(
        sizes: tuple[int, ...] = (3, 2),
        *,
        image_dtype: str = "uint8",
        seed: int = 0,
        edit: Callable[[Columns], None] | None = None,
        name: str | None = None,
    ) -> tuple[Path, dict[str, Columns]]:
        dst = tmp_path / (name or f"set{next(made)}")
        manifest = DatasetManifest("random", 4, 6, KINDS, {}, {}, image_dtype)
        values = {}
        with staged(dst) as folder:
            for offset, split in enumerate(SPLITS):
                arrays = random_columns(manifest, sum(sizes), seed + offset)
                if edit:
                    edit(arrays)
                values[split] = arrays
                starts = np.cumsum([0, *sizes])
                entries = tuple(
                    write_shard(
                        folder,
                        shard_name(split, k),
                        manifest.columns,
                        {n: a[starts[k] : starts[k + 1]] for n, a in arrays.items()},
                    )
                    for k in range(len(sizes))
                )
                manifest = manifest.with_split(split, entries)
            publish(folder, dst, manifest)
        return dst, values

    return write


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> ShardDataset:
    """40 + 4 rooms of 48 x 64 pixels."""
    config = RoomsConfig(seed=5, train=40, test=4, height=48, width=64)
    return build(tmp_path_factory.mktemp("rooms") / "set", config, processes=1)


@pytest.fixture
def mtan(tmp_path: Path) -> Path:
    """A valid MTAN folder: 3 training and 2 validation frames of 6 x 8 pixels."""
    root = tmp_path / "mtan"
    draw = np.random.default_rng(0)
    for split, names in (("train", (0, 2, 10)), ("val", (1, 3))):
        for domain in ("image", "label", "depth", "normal"):
            (root / split / domain).mkdir(parents=True)
        for number in names:
            normal = draw.normal(size=(6, 8, 3))
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
            normal[0, :2] = 0
            depth = draw.uniform(0.5, 9, (6, 8, 1))
            depth[2, 3] = 0
            frame = {
                "image": draw.uniform(0, 1, (6, 8, 3)),
                "label": draw.integers(-1, 13, (6, 8)).astype(np.float32),
                "depth": depth,
                "normal": normal,
            }
            for domain, value in frame.items():
                np.save(root / split / domain / f"{number}.npy", value.astype(np.float32))
    return root
