"""The script that fails CI when a test was skipped without an excuse."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from browser import NAMES, NO_BROWSER

SCRIPT = Path(__file__).resolve().parents[3] / ".ci" / "check_skips.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_skips", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(folder: Path, *reasons: str) -> None:
    cases = "".join(
        f'<testcase classname="tests.x" name="t{i}"><skipped message="{why}"/></testcase>'
        for i, why in enumerate(reasons)
    )
    (folder / "unit.xml").write_text(
        f'<testsuites><testsuite><testcase name="ok"/>{cases}</testsuite></testsuites>'
    )


def test_no_skip_passes(script: ModuleType, tmp_path: Path) -> None:
    report(tmp_path)
    assert script.main(str(tmp_path), "unit") == 0


def test_a_skip_fails(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path, "because")
    assert script.main(str(tmp_path), "unit") == 1
    assert "tests.x::t0 was skipped: because" in capsys.readouterr().out


@pytest.mark.parametrize("present", [True, False])
def test_shared_data_excuses_only_where_it_is_absent(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bool
) -> None:
    report(tmp_path, "../shared is absent")
    monkeypatch.setattr(script, "SHARED", tmp_path if present else tmp_path / "none")
    assert script.main(str(tmp_path), "unit") == (1 if present else 0)


@pytest.mark.parametrize("present", [True, False])
def test_a_browser_excuses_only_where_it_is_absent(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bool
) -> None:
    report(tmp_path, NO_BROWSER)
    monkeypatch.setattr(script.shutil, "which", lambda name: "/bin/true" if present else None)
    assert script.main(str(tmp_path), "unit") == (1 if present else 0)


def test_browsers_have_the_same_names_in_tests_and_here(script: ModuleType) -> None:
    assert script.BROWSERS == NAMES


def test_a_missing_report_fails(script: ModuleType, tmp_path: Path) -> None:
    report(tmp_path)
    assert script.main(str(tmp_path), "unit", "ray") == 1
