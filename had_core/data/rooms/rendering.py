"""Rendering the data set into shards, on every core.

Worker processes are plain ``python -m had_core.data.rooms.rendering ...``: unlike those of
``multiprocessing`` they never import the caller's script, so ``build`` works from anywhere. Each
of N renders every N-th shard; what a shard holds does not depend on N.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from had_core.canonical import Json, derive_seed
from had_core.data.manifest import IMAGE, SPLITS, DatasetManifest, ShardEntry
from had_core.data.rooms.config import TASKS, RoomsConfig
from had_core.data.rooms.layout import furnish
from had_core.data.rooms.raycast import cast
from had_core.data.rooms.scene import Table
from had_core.data.rooms.shading import photograph
from had_core.data.rooms.targets import targets
from had_core.data.shards import ShardDataset
from had_core.data.writing import (
    empty_columns,
    occupied,
    publish,
    rows_per_shard,
    shard_name,
    staged,
    write_shard,
)
from had_core.errors import CorruptArtifact, HadError
from had_core.paths import expanded

ROOMS_VERSION = 1  # raise it when the same config renders other pixels


def build(
    out_dir: str | Path, config: RoomsConfig | None = None, *, processes: int | None = None
) -> ShardDataset:
    """Render ``config`` into folder ``out_dir`` and open it; at once if it is already there.

    Args:
        processes: worker processes; by default one a core, at most one a shard.

    Raises:
        BadInput: ``out_dir`` holds something else, or cannot be written.
    """
    config = config or RoomsConfig()
    dst = expanded(out_dir).absolute()
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        return _open_same(dst, config)
    manifest = empty_manifest(config)
    parts = min(len(_shards(config)), processes or _cores())
    with staged(dst) as folder:
        entries = _render_all(folder, config, parts)
        for split in SPLITS:
            manifest = manifest.with_split(
                split, tuple(e for e in entries if e.file.startswith(f"{split}-"))
            )
        publish(folder, dst, manifest)
    return ShardDataset.open(dst)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def empty_manifest(config: RoomsConfig) -> DatasetManifest:
    """The manifest of ``config`` before it has splits."""
    source: dict[str, Json] = {"generator": "rooms", "version": ROOMS_VERSION, **asdict(config)}
    return DatasetManifest("rooms", config.height, config.width, TASKS, {}, source, "uint8")


def render(config: RoomsConfig, split: str, index: int) -> dict[str, NDArray[Any]]:
    """Image ``index`` of a split: one row of every column, as a shard stores it."""
    seed = derive_seed("rooms", ROOMS_VERSION, config.seed, split, index)
    scene = furnish(seed)
    table = Table.of(scene.primitives)
    hits = cast(scene, table, config.height, config.width)
    return {IMAGE: photograph(scene, table, hits, seed), **targets(scene.camera, hits, table)}


def _open_same(dst: Path, config: RoomsConfig) -> ShardDataset:
    """The data set at ``dst`` if it was built from the same settings."""
    if not dst.is_dir() or not (dst / "manifest.json").is_file():
        raise occupied(dst)
    try:
        dataset = ShardDataset.open(dst)
    except CorruptArtifact:
        raise occupied(dst) from None
    if dict(dataset.manifest.source) != dict(empty_manifest(config).source):
        raise occupied(dst)
    return dataset


def _shards(config: RoomsConfig) -> list[tuple[str, int, int, int]]:
    """(split, shard number, first image, one past the last) of every shard."""
    step = rows_per_shard(empty_manifest(config).columns)
    return [
        (split, number, start, min(start + step, count))
        for split, count in (("train", config.train), ("test", config.test))
        for number, start in enumerate(range(0, count, step))
    ]


def _render_all(folder: Path, config: RoomsConfig, parts: int) -> list[ShardEntry]:
    """Every shard, rendered by ``parts`` processes including this one, in order."""
    workers = [_start(folder, config, part, parts) for part in range(1, parts)]
    try:
        entries = _render_part(folder, config, 0, parts)
        for worker in workers:
            output, complaint = worker.communicate()
            if worker.returncode != 0:
                raise HadError(f"a process that renders rooms failed: {complaint.strip()[-500:]}")
            entries += [ShardEntry(**entry) for entry in json.loads(output)]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return sorted(entries, key=lambda entry: entry.file)


def _render_part(folder: Path, config: RoomsConfig, part: int, parts: int) -> list[ShardEntry]:
    return [_render_shard(folder, config, *shard) for shard in _shards(config)[part::parts]]


def _render_shard(
    folder: Path, config: RoomsConfig, split: str, number: int, start: int, stop: int
) -> ShardEntry:
    columns = empty_manifest(config).columns
    arrays = empty_columns(columns, stop - start)
    for index in range(start, stop):
        for name, value in render(config, split, index).items():
            arrays[name][index - start] = value
    return write_shard(folder, shard_name(split, number), columns, arrays)


def _start(folder: Path, config: RoomsConfig, part: int, parts: int) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "had_core.data.rooms.rendering"),
            *(str(folder), json.dumps(asdict(config)), str(part), str(parts), str(os.getpid())),
        ],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main(arguments: Sequence[str]) -> None:
    """Render one part and print its shard entries as JSON; end when the caller is gone."""
    folder, config, part, parts, caller = arguments
    threading.Thread(target=_end_with, args=(int(caller),), daemon=True).start()
    entries = _render_part(Path(folder), RoomsConfig(**json.loads(config)), int(part), int(parts))
    print(json.dumps([asdict(entry) for entry in entries]))


def _end_with(caller: int) -> None:
    """A killed caller must not leave processes that go on rendering."""
    while os.getppid() == caller:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
