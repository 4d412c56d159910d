"""The doctor's checks."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from had_core.errors import BadInput
from orchestrator.cli import checks
from orchestrator.cli.checks import Check, Status
from orchestrator.cli.main import app
from orchestrator.tracking.location import TrackingLocation


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_versions_are_the_installed_ones() -> None:
    found = by_name(list(checks.versions()))
    assert found["torch"].value == importlib.metadata.version("torch")
    assert all(name in found for name in checks.PACKAGES)


def test_a_missing_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PACKAGES", ("no-such-package",))
    monkeypatch.setattr(checks, "_IMPORTS", ("json", "no_such_module"))
    assert by_name(list(checks.versions()))["no-such-package"].status is Status.FAILED
    found = by_name(list(checks.imports()))
    assert found["json"].status is Status.OK
    assert found["no_such_module"].status is Status.FAILED


def test_cpu_flags(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor : 1\nflags : fpu\n")
    assert checks.cpu_flags(info) == {"fpu", "avx2", "amx_bf16"}
    assert checks.cpu_flags(tmp_path / "none") == frozenset()


def test_low_disk_warns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = str(tmp_path / "deep" / "store")
    assert by_name(list(checks.disk(store)))["free disk"].status is Status.OK
    monkeypatch.setattr(checks, "LOW_DISK_GIB", 1e9)
    warned = by_name(list(checks.disk(store)))["free disk"]
    assert warned.status is Status.WARNING
    assert warned.hint


@pytest.mark.parametrize(
    ("error", "status"), [(BadInput("no"), Status.WARNING), (OSError("down"), Status.FAILED)]
)
def test_tracking_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, status: Status
) -> None:
    def of(store: str) -> TrackingLocation:
        raise error

    assert by_name(list(checks.tracking(str(tmp_path))))["mlflow"].status is Status.OK
    monkeypatch.setattr(TrackingLocation, "of", of)
    found = by_name(list(checks.tracking(str(tmp_path))))["mlflow"]
    assert found.status is status
    assert str(error) in found.value


@pytest.mark.parametrize("status", list(Status))
def test_the_command(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    found = [Check("versions", "a", Status.OK, "1"), Check("store", "b", status, "bad", "do this")]
    monkeypatch.setattr(checks, "all_checks", lambda store: found)
    code = 1 if status is Status.FAILED else 0
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == code
    assert "do this" in done.stdout
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == code
    shown = json.loads(done.stdout)
    assert shown["ok"] is (status is not Status.FAILED)
    assert shown["checks"][1] == {
        "group": "store",
        "name": "b",
        "status": status.value,
        "value": "bad",
        "hint": "do this",
    }
