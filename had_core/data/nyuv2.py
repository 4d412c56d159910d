"""Importing NYUv2 in the MTAN layout: ``{train,val}/{image,label,depth,normal}/N.npy``.

Conventions of the files (MTAN, Liu et al., CVPR 2019), and what is accepted here::

    image   H x W x 3  floats in 0..1 (channels last only)
    label   H x W      whole numbers -1..12, -1 unlabelled (floats or integers)
    depth   H x W x 1  metres, floats of 0 or more, 0 invalid
    normal  H x W x 3  unit vectors, floats; exactly (0, 0, 0) invalid; a length off by up to
                       0.05 (8-bit sources, resizing) is normalised, more is refused

Any H x W, the same for all. ``val`` becomes the split "test". Row i is the i-th smallest N. Values
are stored as float32 (labels int16), images too, so nothing is rounded. Files are read one at a
time and memory-mapped; none may hold Python objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.canonical import Json
from had_core.data.manifest import IMAGE, DatasetManifest, ShardEntry
from had_core.data.shards import ShardDataset
from had_core.data.writing import (
    empty_columns,
    publish,
    rows_per_shard,
    shard_name,
    staged,
    write_shard,
)
from had_core.errors import BadInput
from had_core.paths import expanded, refuse_special
from had_core.tasks import DenseTask, TaskKind

Array = NDArray[Any]

CLASSES = (
    "bed",
    "books",
    "ceiling",
    "chair",
    "floor",
    "furniture",
    "objects",
    "picture",
    "sofa",
    "table",
    "tv",
    "wall",
    "window",
)
TASKS = (
    DenseTask("semantic", TaskKind.LABELS, len(CLASSES), invalid=-1.0, class_names=CLASSES),
    DenseTask("depth", TaskKind.SCALAR, 1, invalid=0.0, unit="m", relative_error=True),
    DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
)
FOLDERS = {"train": "train", "test": "val"}
LENGTH_TOLERANCE = 0.05
_LAYOUT = "the MTAN layout is {train,val}/{image,label,depth,normal}/N.npy"


@dataclass(frozen=True)
class Domain:
    """One folder of files: the column it fills, the channels of a file, its conversion."""

    column: str
    channels: tuple[int, ...]
    convert: Callable[[Array, Path], Array]


def import_mtan(src: str | Path, dst: str | Path) -> ShardDataset:
    """Write the MTAN files under ``src`` as a data set in the new folder ``dst`` and open it.

    Raises:
        BadInput: a folder or file is missing or not as the module says; it is named, and
            nothing is left behind.
    """
    source, target = expanded(src).absolute(), expanded(dst).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"'{target}' already exists: choose a new folder")
    frames = {split: _frames(source / folder) for split, folder in FOLDERS.items()}
    height, width = _size(source / "train" / IMAGE / frames["train"][0])
    record: dict[str, Json] = {"importer": "nyuv2", "layout": "mtan", "version": 1}
    manifest = DatasetManifest("nyuv2", height, width, TASKS, {}, record, "float32")
    with staged(target) as folder:
        for split, names in frames.items():
            shards = _write_split(folder, manifest, split, source / FOLDERS[split], names)
            manifest = manifest.with_split(split, shards)
        publish(folder, target, manifest)
    return ShardDataset.open(target)


def _frames(folder: Path) -> list[str]:
    """File names of one split in numerical order, the same in every domain."""
    found = {domain: _numbered(folder / domain) for domain in DOMAINS}
    every = set().union(*found.values())
    if not every:
        raise BadInput(f"'{folder}' holds no frames: {_LAYOUT}")
    for domain, numbers in found.items():
        missing = sorted(every - set(numbers))
        if missing:
            counts = ", ".join(f"{len(n)} {d}" for d, n in found.items())
            path = folder / domain / f"{missing[0]}.npy"
            raise BadInput(f"'{path}' is missing: every frame needs all domains ({counts} files)")
    return [found[IMAGE][number] for number in sorted(every)]


def _numbered(folder: Path) -> dict[int, str]:
    """Number -> file name of every ``N.npy`` in ``folder``; other kinds of files are ignored."""
    if not folder.is_dir():
        raise BadInput(f"folder '{folder}' is missing: {_LAYOUT}")
    names: dict[int, str] = {}
    for path in folder.iterdir():
        if path.suffix != ".npy" or path.name.startswith("."):
            continue
        if not (path.stem.isascii() and path.stem.isdigit()) or str(int(path.stem)) != path.stem:
            raise BadInput(f"'{path}' is not allowed: files are named 0.npy, 1.npy, 2.npy, ...")
        names[int(path.stem)] = path.name
    return names


def _size(path: Path) -> tuple[int, int]:
    """Height and width of an image file."""
    shape = _load(path).shape
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise BadInput(f"image '{path}' has shape {_shown(shape)}, allowed is H x W x 3")
    return shape[0], shape[1]


def _write_split(
    folder: Path, manifest: DatasetManifest, split: str, source: Path, names: list[str]
) -> tuple[ShardEntry, ...]:
    step = rows_per_shard(manifest.columns)
    return tuple(
        _write_chunk(folder, manifest, shard_name(split, k), source, names[k * step :][:step])
        for k in range(-(-len(names) // step))
    )


def _write_chunk(
    folder: Path, manifest: DatasetManifest, shard: str, source: Path, names: list[str]
) -> ShardEntry:
    arrays = empty_columns(manifest.columns, len(names))
    for row, name in enumerate(names):
        for domain, rules in DOMAINS.items():
            arrays[rules.column][row] = _read(source / domain / name, rules, manifest)
    return write_shard(folder, shard, manifest.columns, arrays)


def _read(path: Path, rules: Domain, manifest: DatasetManifest) -> Array:
    """One file, checked and converted to what a shard stores."""
    array, expected = _load(path), (manifest.height, manifest.width, *rules.channels)
    if array.shape != expected:
        raise BadInput(
            f"'{path}' has shape {_shown(array.shape)}, allowed is {_shown(expected)}: "
            "H x W of the first training image, channels last"
        )
    return rules.convert(array, path)


def _load(path: Path) -> Array:
    """A memory-mapped .npy file; never a pickle."""
    refuse_special(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy reads a header as Python text: damaged, it may raise any
        if "Python objects" in str(error):
            allowed = "allowed is an array of numbers"
            raise BadInput(f"'{path}' holds Python objects: {allowed}") from None
        words = getattr(error, "strerror", None) or str(error)
        reason = (words.splitlines() or ["it is damaged"])[0]
        raise BadInput(f"'{path}' is not a readable .npy file: {reason}") from None


def _floats(array: Array, path: Path) -> Array:
    if array.dtype.kind != "f":
        raise BadInput(f"'{path}' has dtype {array.dtype}, allowed is float32 or float64")
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        return array.astype(np.float32)


def _image(array: Array, path: Path) -> Array:
    image = _floats(array, path)
    if not ((image >= 0) & (image <= 1)).all():
        raise BadInput(
            f"image '{path}' holds values from {image.min():g} to {image.max():g}, "
            "allowed is 0 to 1"
        )
    return image


def _label(array: Array, path: Path) -> Array:
    if array.dtype.kind not in "fiu":
        raise BadInput(f"'{path}' has dtype {array.dtype}, allowed are floats or integers")
    wrong = ~((array >= -1) & (array < len(CLASSES)) & (array == np.floor(array)))
    if wrong.any():
        raise BadInput(
            f"label '{path}' holds the value {array[wrong][0]:g}, allowed are whole numbers from "
            f"-1 to {len(CLASSES) - 1}"
        )
    return array.astype(np.int16)


def _depth(array: Array, path: Path) -> Array:
    depth = _floats(array, path)
    wrong = ~(np.isfinite(depth) & (depth >= 0))
    if wrong.any():
        raise BadInput(
            f"depth '{path}' holds the value {depth[wrong][0]:g}, allowed is a finite number of "
            "metres, 0 where it is unknown"
        )
    return depth


def _normal(array: Array, path: Path) -> Array:
    normal = _floats(array, path)
    length = np.sqrt((normal.astype(np.float64) ** 2).sum(axis=-1))
    known = (normal != 0).any(axis=-1)
    wrong = known & ~(np.abs(length - 1) <= LENGTH_TOLERANCE)
    if wrong.any():
        raise BadInput(
            f"normal '{path}' holds a vector of length {length[wrong][0]:g}, allowed is 1 "
            f"(within {LENGTH_TOLERANCE}), or (0, 0, 0) where it is unknown"
        )
    off = known & (np.abs(length - 1) > 1e-6)
    normal[off] = normal[off] / length[off][:, None]
    return normal


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


DOMAINS: Mapping[str, Domain] = {
    IMAGE: Domain(IMAGE, (3,), _image),
    "label": Domain("semantic", (), _label),
    "depth": Domain("depth", (1,), _depth),
    "normal": Domain("normal", (3,), _normal),
}
