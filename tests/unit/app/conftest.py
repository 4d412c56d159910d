from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from had_core.tensors import from_bytes, to_bytes
from orchestrator.config import RunConfig, compose
from orchestrator.display.live import SilentDisplay
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture(autouse=True)
def no_gathering_of_news(monkeypatch):
    """A driver waits a moment, so that many short stages are told together; here are two."""
    monkeypatch.setattr("orchestrator.execution.watch._GATHER_S", 0.0)


@pytest.fixture(autouse=True, scope="session")
def _quick_databases(migrations_read_once):
    """For every test of this room."""


@pytest.fixture
def display() -> SilentDisplay:
    return SilentDisplay(Console(file=io.StringIO()))


TINY = (
    "order=[semantic,depth]",
    "cluster=inline",
    "cluster.threads=1",
    "tracking=off",
    "net.decoder_channels=8",
    "net.aspp_rates=[1,2,3]",
    "train.epochs=1",
    "train.batch_size=4",
)


@pytest.fixture(scope="session")
def tiny(micro_dataset):
    """Overrides of a two-stage run in this process: seconds."""
    return lambda store, *more: [
        *TINY,
        f"dataset.path={micro_dataset.path}",
        f"store.root={store}",
        *more,
    ]


@pytest.fixture
def config_of(tiny, tmp_path):
    """The composed settings of a tiny run; its store does not exist yet."""

    def compose_tiny(*more: str) -> RunConfig:
        return compose(tiny(tmp_path / "store", *more))

    return compose_tiny


@pytest.fixture(scope="session")
def ran(tiny, tmp_path_factory):
    """A store after one tiny run with HAD and naive; look, or copy it."""
    from orchestrator.app.run import run

    store = tmp_path_factory.mktemp("ran") / "store"
    config = compose(tiny(store, "reference=naive", "name=tiny"))
    result = run(config, SilentDisplay(Console(file=io.StringIO())))
    return SimpleNamespace(store=store, config=config, result=result)


@pytest.fixture(scope="session")
def files_below():
    """Every file below a folder."""
    return lambda folder: sorted(str(p) for p in Path(folder).rglob("*") if p.is_file())


@pytest.fixture
def tampered():
    """Seals a stage anew with other weights: as if it had been trained otherwise."""

    def tamper(store, key, by: float = 0.5) -> str:
        sealed = store.load(ArtifactKind.FIT, key)
        files = {file.name: sealed.read(file.name) for file in sealed.files}
        tensors, _ = from_bytes(files[formats.NET])
        name = sorted(tensors)[3]
        files[formats.NET] = to_bytes({**tensors, name: tensors[name] + by})
        shutil.rmtree(f"{store.uri}/fit/{key[:2]}/{key}")
        store.seal(ArtifactKind.FIT, key, files, sealed.manifest)
        return name

    return tamper
