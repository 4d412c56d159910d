"""``docs/json.md`` names every key that a command prints, and no other."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_registry import FakeRegistry
from typer.testing import CliRunner

from had_core.program import Program
from orchestrator.app.plan import plan
from orchestrator.app.rerun import rerun
from orchestrator.cli.main import app
from orchestrator.config import StoreConfig
from orchestrator.tracking.location import TrackingLocation

pytestmark = pytest.mark.integration

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "json.md").read_text()
# What lies below these is named by tasks, metrics, splits or settings.
BY_NAME = {"metrics", "r_matrix", "row", "sealed_row", "images", "delta_m_by_task", "left", "right"}
BY_NAME |= {"settings", "rows", "numerics", "versions", "headline", "params", "values"}


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\b[^\n]*\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    return found


def named(text: str) -> set[str]:
    """Every word in backticks; in ``{...}`` every key."""
    spans = re.findall(r"`([^`]+)`", text)
    return {word for span in spans for word in re.findall(r"[a-z_]+", span)}


def tabled(text: str) -> set[str]:
    """First cells of its tables."""
    return {key for line in re.findall(r"^\| (`.*?) \|", text, re.M) for key in named(line)}


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from keys(item)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in BY_NAME:
                yield from keys(inner)


def check(value: Any, title: str, *others: str) -> None:
    text = section(title)
    found = set(keys(value))
    assert tabled(text) <= found
    assert found <= named(text + "".join(section(other) for other in others))


def test_run(ran) -> None:
    check(ran.result.to_json() | {"failures": []}, "had run")
    tables = {"key", "method", "tasks", "message", "traceback"}
    assert tables <= named(section("had run").partition("An entry of `failures`")[2])


def test_plan(config_of, ran) -> None:
    check(plan(ran.config).to_json(), "had plan", "had run")


def test_a_plan_without_a_store_makes_none(ran, tmp_path) -> None:
    config = replace(ran.config, store=StoreConfig(str(tmp_path / "store")))
    assert plan(config).plan["cached"] == 0
    assert list(tmp_path.iterdir()) == []


def test_rerun(ran, display) -> None:
    key = ran.result.sequences[-1].stages[-1].key
    result = rerun(key, StoreConfig(str(ran.store)), [], display).to_json()
    check(result, "had rerun", "had run")
    json.dumps(result, allow_nan=False)


def printed(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_runs(ran) -> None:
    check(printed("runs", "--store", str(ran.store)), "had runs", "had run")
    check(printed("runs", "tiny", "--store", str(ran.store)) | {"runs": []}, "had runs", "had run")


def test_gc(ran) -> None:
    line = {"key": "", "what": "", "tasks": [], "run": "", "bytes": 0}
    found = printed("gc", "--store", str(ran.store))
    check(found | {"garbage": [line]}, "had gc", "had run")
    dropped = printed("runs", "--keep", "tiny", "--store", str(ran.store))
    check(dropped | {"runs": []}, "had runs", "had run")


def test_show(ran) -> None:
    key = ran.result.sequences[-1].stages[0].key
    check(printed("show", key, "--store", str(ran.store)), "had show", "had run")


def test_report(ran, tmp_path) -> None:
    written = printed("report", "tiny", "-o", str(tmp_path / "r.md"), "--store", str(ran.store))
    check(written, "had report")


def test_explain(ran) -> None:
    left, right = (sequence.stages[-1].key for sequence in ran.result.sequences)
    check(printed("explain", left, right, "--store", str(ran.store)), "had explain", "had run")


def test_predict(ran, tmp_path) -> None:
    key = ran.result.sequences[-1].stages[-1].key
    np.save(tmp_path / "image.npy", np.zeros((16, 20, 3), np.float32))
    words = (key, str(tmp_path / "image.npy"), str(tmp_path / "out"), "--store", str(ran.store))
    check(printed("predict", *words), "had predict", "had run")


def test_export(ran, tmp_path, monkeypatch) -> None:
    program = Program(b"program", True, 9, 0.0)
    monkeypatch.setattr("had_core.program.export", lambda *args: program)
    key = ran.result.sequences[-1].stages[-1].key
    found = printed("export", key, str(tmp_path / "out"), "--store", str(ran.store))
    check(found, "had export", "had run")


def test_register(ran, tmp_path, monkeypatch) -> None:
    client = FakeRegistry()
    monkeypatch.setattr(TrackingLocation, "client", lambda self: client)
    monkeypatch.setattr(TrackingLocation, "file", None)
    key = ran.result.sequences[-1].stages[-1].key
    store = shutil.copytree(ran.store, tmp_path / "store")
    check(printed("register", key, "net", "--store", str(store)), "had register", "had run")


def test_data(tmp_path) -> None:
    size = ("--train", "2", "--test", "2", "--height", "16", "--width", "24")
    built = printed("data", "build", "rooms", "--out", str(tmp_path / "rooms"), *size)
    check(built, "had data build")
    check(printed("data", "check", str(tmp_path / "rooms")), "had data check")


@pytest.mark.parametrize("title", re.findall(r"^## (had .*)", TEXT, re.M))
def test_every_section_is_about_a_command(title) -> None:
    for name in title.split(", "):
        words = name.removeprefix("had ").split()
        assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0
