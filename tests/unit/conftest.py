from __future__ import annotations

import builtins
import errno
import io
import os

import pytest


@pytest.fixture(scope="session")
def micro_dataset(tmp_path_factory):
    """40 + 8 rooms of 24x32 pixels."""
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=40, test=8, height=24, width=32))
    return ShardDataset.open(path)


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
