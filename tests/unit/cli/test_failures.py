"""What the system refuses, and output that cannot be written: one sentence, an exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app, main


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_output_that_cannot_be_written_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "store.json").write_text('{"layout": 1}')
    monkeypatch.setattr("orchestrator.cli.runs.emit_json", full)
    result = call("runs", "--json", "--store", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == "had: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "number",
    [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP],
)
def test_what_the_system_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "/a/file")

    monkeypatch.setattr("had_core.data.check.check", refused)
    done = call("data", "check", "x")
    assert done.exit_code == 2
    assert done.stderr == f"had: '/a/file': {os.strerror(number)}\n"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/file"),
        PermissionError(errno.EPERM, "Operation not permitted"),  # to end a process, say
        OSError(errno.EIO, "Input/output error", "/a/file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_be_a_fault_of_the_program_stays_visible(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def failed(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("had_core.data.check.check", failed)
    assert call("data", "check", "x").exception is error


@pytest.mark.parametrize(
    "words",
    [
        ["data", "import", "nyuv2", "~nobody-here/a", "b"],
        ["data", "import", "nyuv2", "a", "~nobody-here/b"],
        ["data", "check", "~nobody-here/a"],
        ["data", "build", "rooms", "--out", "~nobody-here/a"],
        ["runs", "--store", "~nobody-here/a"],
        ["report", "x", "-o", "~nobody-here/a.html"],
        ["plan", "store.root='~nobody-here/a'"],
    ],
)
def test_the_home_folder_of_nobody_is_one_sentence(words: list[str]) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("had: '~nobody-here/")
    assert "begins with ~nobody-here, a home folder not known here" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_deleted_working_folder_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["runs"], ["data", "check", "x"], ["plan"]):
        done = call(*words)
        assert done.exit_code == 2
        assert done.stderr == "had: the current folder was deleted: change to one that exists\n"


def test_a_closed_output_is_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"layout": 1}')
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "argv", ["had", "runs", "--store", str(tmp_path)])
    monkeypatch.setattr("orchestrator.cli.main.freeze", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
