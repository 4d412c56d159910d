"""A flipped byte anywhere below a sealed run: named, set aside, made again, nothing else."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.app.run import run
from orchestrator.config import StoreConfig
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store

pytestmark = pytest.mark.integration

FIT, EVAL = ArtifactKind.FIT, ArtifactKind.EVAL


@pytest.fixture
def again(ran, display, tmp_path):
    """The same command over a copy of the finished store."""
    root = tmp_path / "store"
    shutil.copytree(ran.store, root)
    return root, lambda: run(ran.config.at(StoreConfig(str(root))), display)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def stage(ran, method, number):
    return next(s for s in ran.result.sequences if s.method == method).stages[number].key


def nets(ran, root):
    store = Store.open(root)
    keys = {s.key for q in ran.result.sequences for s in q.stages}
    return {key: store.load(FIT, key).read(formats.NET) for key in keys}


@pytest.mark.parametrize("file", ["data-*/net.safetensors", "data-*/history.json", "SEAL.json"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_stage_is_named_and_trained_again(ran, again, caplog, file, number):
    """Nothing reads a stage that no other one needs, so it has to be looked for."""
    root, command = again
    key = stage(ran, "had", number)
    (path,) = (root / "fit" / key[:2] / key).glob(file)
    flip(path)
    with caplog.at_level(logging.WARNING):
        result = command()
    assert f"damaged fit {key}" in caplog.text and path.name in caplog.text
    assert (result.stages_trained, result.stages_reused) == (1, 2)
    trained = {s.key for q in result.sequences for s in q.stages if not s.reused}
    assert trained == {key}
    assert nets(ran, root) == nets(ran, ran.store)
    assert [q.r_matrix for q in result.sequences] == [q.r_matrix for q in ran.result.sequences]
    assert command().stages_trained == 0


@pytest.mark.parametrize("file", ["row.json", "depth.png"])
def test_a_damaged_evaluation_is_named_and_trains_nothing(ran, again, caplog, file):
    root, command = again
    path = next(path for path in sorted((root / "eval").rglob(file)))
    flip(path)
    with caplog.at_level(logging.WARNING):
        result = command()
    assert "damaged eval" in caplog.text and file in caplog.text
    assert (result.stages_trained, result.stages_reused) == (0, 3)
    assert all(s.reused for q in result.sequences for s in q.stages)
    assert [q.r_matrix for q in result.sequences] == [q.r_matrix for q in ran.result.sequences]


def test_a_damaged_shard_is_named_and_refused(ran, again, micro_dataset):
    root, command = again
    before = sorted(root.rglob("*"))
    shard = micro_dataset.path / "train-00000.arrow"
    flip(shard)
    try:
        with pytest.raises(BadInput, match=r"shard 'train-00000.arrow' .* is damaged"):
            command()
    finally:
        flip(shard)
    assert sorted(root.rglob("*")) == before
    assert command().stages_trained == 0
