"""What executes in a submitted job: its entry, over made-up applications."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from typing import Any

import pytest

from had_core.canonical import to_plain
from had_core.errors import BadInput
from orchestrator.cli import job as entry
from orchestrator.cli.kinds import Asked, kind_of
from orchestrator.config import RunConfig
from orchestrator.display.results import RunResult
from orchestrator.jobs.job import JobSpec
from orchestrator.jobs.wire import Call, decode_line


@pytest.fixture
def job(tmp_path, monkeypatch, capsys):
    """Execute a job's entry in a folder that ``spec`` was shipped to."""
    monkeypatch.setattr(sys, "argv", ["job"])
    monkeypatch.setenv("LOGNAME", "root")

    def execute(spec: JobSpec, run: Any) -> tuple[int, str, str]:
        (tmp_path / "job.json").write_text(json.dumps(to_plain(spec)))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("orchestrator.app.run.run", run)
        code = entry.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return execute


def a_spec() -> JobSpec:
    words = ("tasks=[semantic,depth]", "name=try")
    return kind_of("run").spec(Asked(words, "/s"))


def test_the_entry_runs_what_it_was_told_and_writes_its_result(job):
    seen: list[Any] = []

    def run(config: RunConfig, display: Any) -> RunResult:
        seen.append((config, list(sys.argv), os.environ["LOGNAME"]))
        display.begin(config.name, to_train=0, cached=0)
        return RunResult("try", "rooms", {}, (), "/s")

    spec = a_spec()
    code, out, _ = job(spec, run)
    assert code == 0
    config, argv, user = seen[0]
    assert config == RunConfig.from_json(spec.payload["config"])
    assert argv == ["had", "submit", "run", "tasks=[semantic,depth]", "name=try"]
    assert user == spec.user
    first, second, *tables = out.splitlines()
    assert decode_line(first) == Call("begin", ("try",), {"to_train": 0, "cached": 0})
    assert second.startswith('@had {"result": ')
    assert any(line.startswith("run ") for line in tables)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadInput("node gpu-1 does not see the store"), 2, "node gpu-1 does not see the store"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 2, "'/a': Permission denied"),
        (KeyboardInterrupt(), 130, "continue with: had submit run"),
    ],
)
def test_the_entry_ends_as_the_command_would(job, error, code, said):
    def run(config: RunConfig, display: Any) -> Any:
        raise error

    found, _, err = job(a_spec(), run)
    assert (found, said in err) == (code, True)


def test_the_entry_can_be_interrupted_where_ray_has_shut_that_off(job):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:

        def run(config: RunConfig, display: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("not interrupted")

        code, _, err = job(a_spec(), run)
        assert (code, "interrupted" in err) == (130, True)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
