"""A store of tiny stages, moved with its data and the code, and rerun in a fresh process there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rerun_many import FIT, chosen
from rich.console import Console

from orchestrator.app.run import run
from orchestrator.config import compose
from orchestrator.display.live import SilentDisplay
from orchestrator.execution import formats
from orchestrator.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
_MOVED = ("had_core", "orchestrator", "experiments", "tests/support")
_SETTINGS = (
    "tasks=[semantic,depth,normal]",
    "cluster=inline",
    "cluster.threads=1",
    "tracking=off",
    "net.decoder_channels=8",
    "net.aspp_rates=[1,2,3]",
    "train.epochs=2",
    "train.batch_size=4",
    "reference=naive",
)


def filled(root: Path, dataset: Path, weights: list[int], *more: str) -> None:
    """All orders of all tasks, naive and HAD with each of these weights."""
    for weight in weights:
        place = (f"dataset.path={dataset}", f"store.root={root}", f"name=w{weight}")
        config = compose([*_SETTINGS, *place, f"method.lambda={weight}", *more])
        run(config, SilentDisplay(Console(file=io.StringIO())))


def rerun_elsewhere(root: Path, dataset: Path, new: Path, count: int) -> dict[str, Any]:
    """What ``rerun_many`` says over a copy of everything below ``new``; the originals are gone."""
    expected = {key: _sealed(Store.open(root), key) for key in chosen(Store.open(root), count)}
    for folder in _MOVED:
        shutil.copytree(REPOSITORY / folder, new / "code" / folder)
    shutil.copy(REPOSITORY / "pyproject.toml", new / "code")  # which makes it a checkout
    shutil.move(root, new / "store")
    shutil.move(dataset, new / "data")
    command = [sys.executable, str(new / "code/tests/support/rerun_many.py")]
    done = subprocess.run(
        [*command, str(new / "store"), str(new / "data"), str(count)],
        cwd=new,
        env={**os.environ, "PYTHONPATH": str(new / "code"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["code"]).is_relative_to(new / "code"), said["code"]
    assert set(said["stages"]) == set(expected)
    return {key: {**said["stages"][key], **expected[key]} for key in expected}


def _sealed(store: Store, key: str) -> dict[str, Any]:
    sealed = store.load(FIT, key)
    assert sealed is not None
    digest = hashlib.sha256(sealed.read(formats.NET)).hexdigest()
    return {"sealed": digest, "sealed_steps": int(sealed.manifest["steps"])}


def wrong(found: dict[str, Any]) -> dict[str, Any]:
    """The stages that were not trained again in full, or came out otherwise."""
    return {
        key: told
        for key, told in found.items()
        if told["reproduced"] is not True
        or told["sha256"] != told["sealed"]
        or not 0 < told["sealed_steps"] == told["steps"] == told["steps_out_of_reach"]
    }
