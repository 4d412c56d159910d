"""Fixtures of the store's tests: a store in a fresh folder, and ways to look at and damage it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from orchestrator.store import Store


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that was not synced; test_durability looks at the syncs themselves."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def key_of():
    """A key from any text."""
    return lambda text: hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def files_below():
    """Relative paths of all files in a folder, sorted."""

    def below(folder: str | Path) -> list[str]:
        root = Path(folder)
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

    return below


@pytest.fixture
def flip_byte():
    """Flip one bit in the middle of a file, keeping its size."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    return flip
