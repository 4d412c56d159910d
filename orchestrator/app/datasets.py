"""The data set of a run: built where it is embedded, verified before anything trains on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from had_core.canonical import digest
from had_core.errors import BadInput, CorruptArtifact

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from had_core.data.manifest import DatasetManifest
    from had_core.data.rooms.config import RoomsConfig
    from had_core.tasks import DenseTask
    from orchestrator.config import DatasetConfig

Note = Callable[[str], None]


def open_dataset(config: DatasetConfig, note: Note) -> ShardDataset:
    """Build the data set if it is an embedded one that is not there, then verify every shard.

    Raises:
        BadInput: there is none and none can be built, or a shard is damaged (it is named).
    """
    from had_core.data import ShardDataset

    folder = Path(config.path)
    if not folder.exists():
        _build(config, note)
    try:
        dataset = ShardDataset.open(folder, verify=True)
    except CorruptArtifact as error:
        raise BadInput(str(error)) from None
    _check_tasks(config, dataset.manifest.tasks)
    return dataset


def require_found(config: DatasetConfig, known: DatasetConfig) -> None:
    """Raise BadInput where the data set that something was trained on is said to have moved to a
    folder that is not there: whatever were built there would be taken for it.

    Args:
        known: as it was recorded. Where that folder itself is gone, it is built again.
    """
    if config.path != known.path and not Path(config.path).exists():
        raise BadInput(
            f"dataset.path={config.path} does not exist: name the folder that the data set of "
            f"{known.path} lies in now"
        )


def fingerprints(config: DatasetConfig, note: Note) -> Mapping[str, str]:
    """Fingerprint of every split, from the manifest alone; provisional where nothing is built."""
    folder = Path(config.path)
    if not folder.exists():
        _require_buildable(config)
        note(f"data set {config.path} is not built yet: the keys below are provisional")
        return {split: digest(["not built", split, config.build]) for split in ("train", "test")}
    return fingerprints_of(_manifest(config))


def training_images(config: DatasetConfig) -> int:
    """How many there are, or will be once the embedded data set is built.

    Raises:
        BadInput: there is none and none can be built, or it lacks a task it is said to offer.
    """
    if Path(config.path).exists():
        return _manifest(config).splits["train"].count
    from had_core.data.rooms.config import TASKS

    size = _require_buildable(config)
    _check_tasks(config, TASKS)
    return size.train


def fingerprints_of(manifest: DatasetManifest) -> dict[str, str]:
    """Fingerprint of every split."""
    return {name: split.fingerprint for name, split in manifest.splits.items()}


def _manifest(config: DatasetConfig) -> DatasetManifest:
    """Of the data set that is there; damaged or without a task that is asked for, it is refused."""
    from had_core.data import DatasetManifest

    try:
        manifest = DatasetManifest.read(Path(config.path))
    except CorruptArtifact as error:
        raise BadInput(str(error)) from None
    _check_tasks(config, manifest.tasks)
    return manifest


def _build(config: DatasetConfig, note: Note) -> None:
    from had_core.data.rooms import RoomsConfig, build

    size = _require_buildable(config)
    note(f"building {config.name} ({size.train} + {size.test} images) in {config.path}")
    build(
        config.path,
        RoomsConfig(
            seed=size.seed,
            train=size.train,
            test=size.test,
            height=size.height,
            width=size.width,
        ),
    )


def _require_buildable(config: DatasetConfig) -> RoomsConfig:
    if config.build is None:
        raise BadInput(
            f"dataset.path={config.path} does not exist: import it first "
            f"(had data import {config.name} SRC {config.path}), or name another folder"
        )
    return config.build


def _check_tasks(config: DatasetConfig, tasks: Sequence[DenseTask]) -> None:
    has = [task.name for task in tasks]
    for task in config.tasks:
        if task not in has:
            raise BadInput(
                f"dataset.tasks names '{task}', which {config.path} does not hold: "
                f"it has {', '.join(has)}"
            )
