from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import pickle
import sys
from types import SimpleNamespace

import pytest
import torch
import typer.main
import typer.testing


@pytest.fixture(scope="session")
def micro_dataset(tmp_path_factory):
    """40 + 8 rooms of 24x32 pixels."""
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=40, test=8, height=24, width=32))
    return ShardDataset.open(path)


@pytest.fixture(autouse=True, scope="session")
def settings_read_once():
    """Hydra reads and parses the same files of the project's tree in every composition."""
    from hydra._internal.config_repository import ConfigRepository

    from orchestrator import resources

    tree, read, known = str(resources.folder("experiments")), ConfigRepository.load_config, {}

    def load_config(self, config_path):
        files = {source.path for source in self.sources if source.scheme() == "file"}
        if files != {tree}:  # a test's own tree, or none
            return read(self, config_path)
        if config_path not in known:
            known[config_path] = pickle.dumps(read(self, config_path))
        return pickle.loads(known[config_path])  # each its own; sooner than deepcopy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_config)
        yield


@pytest.fixture(autouse=True, scope="session")
def commands_built_once():
    """Typer looks at every parameter of every command whenever one is called in a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True, scope="session")
def tensors_of_one_process():
    """``assert_close`` imports all of torch.distributed.tensor to ask whether a tensor is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.testing._comparison._HAS_DTENSOR", False)
        yield


@pytest.fixture
def no_compiler(monkeypatch):
    """torch's optimiser classes import its compiler, only to mark their functions for it."""
    stand_in = SimpleNamespace(disable=lambda function, *a, **k: function, graph_break=lambda: None)
    monkeypatch.setitem(sys.modules, "torch._dynamo", stand_in)
    monkeypatch.setattr(torch, "_dynamo", stand_in, raising=False)


@pytest.fixture(scope="session")
def migrations_read_once():
    """Optuna and MLflow read all their migrations, as source, whenever they open a database."""
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, {}

    def from_config(config):
        folder = config.get_main_option("script_location")
        if folder not in known:
            known[folder] = read(config)
        return known[folder]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture
def read_only(monkeypatch):
    """``read_only(folder)``: from now on this process may not write below it, root or not."""

    def make(folder) -> None:
        root = os.path.realpath(folder)

        def guard(module, name, writes=lambda *args, **more: True) -> None:
            real = getattr(module, name)

            def guarded(path, *args, **more):
                inside = isinstance(path, (str, os.PathLike)) and os.path.realpath(path).startswith(
                    root
                )
                if inside and writes(*args, **more):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
                return real(path, *args, **more)

            monkeypatch.setattr(module, name, guarded)

        guard(os, "open", lambda flags, *rest, **more: bool(flags & (os.O_CREAT | os.O_WRONLY)))
        for module in (io, builtins):
            guard(module, "open", lambda mode="r", *rest, **more: bool(set(mode) & set("wax+")))
        for name in ("mkdir", "rename", "replace", "link", "unlink", "rmdir"):
            guard(os, name)

    return make
