"""A made-up store, and ``had`` called over it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from made_up_store import MadeUpStore
from typer.testing import CliRunner

from orchestrator.cli.main import app


@pytest.fixture
def made(tmp_path) -> MadeUpStore:
    return MadeUpStore(tmp_path / "store")


@pytest.fixture
def had(made, monkeypatch) -> Callable[..., Any]:
    """``had(words...)`` over the store: the finished command."""
    monkeypatch.setenv("HAD_STORE", made.store.uri)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def document(had) -> Callable[..., Any]:
    """The JSON document that a command prints."""

    def read(*words: str) -> Any:
        done = had(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return read


@pytest.fixture
def refused(had) -> Callable[..., str]:
    """The sentence with which a command refuses its input."""

    def read(*words: str) -> str:
        done = had(*words)
        assert done.exit_code == 2, done.output
        assert done.stdout == ""
        return str(done.stderr)

    return read
