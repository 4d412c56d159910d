"""The package runs by itself, is the same bytes for the same job, and holds nothing else."""

from __future__ import annotations

import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.jobs.job import JobSpec
from orchestrator.jobs.shipping import JOB_ENVIRONMENT, read_spec, write_package

SPEC = JobSpec("run", "try", "/shared/store", {"seed": 0, "lr": 0.1}, words=("submit", "run"))


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("package") / "job.zip"
    write_package(path, SPEC)
    return path


def test_it_holds_the_code_the_settings_and_the_job(package):
    names = zipfile.ZipFile(package).namelist()
    for wanted in (
        "job.json",
        "orchestrator/cli/job.py",
        "orchestrator/py.typed",
        "had_core/stage.py",
        "orchestrator/_resources/experiments/config.yaml",
        "orchestrator/_resources/commit",
    ):
        assert wanted in names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"job.json", "orchestrator", "had_core"}
    assert not [name for name in names if ".git" in name or "__pycache__" in name or ".pyc" in name]
    assert package.stat().st_size < 5 * 2**20


def test_the_same_job_is_the_same_bytes(package, tmp_path):
    again = tmp_path / "other-name.zip"
    write_package(again, SPEC)
    assert again.read_bytes() == package.read_bytes()


def test_only_its_owner_reads_it(package):
    assert stat.S_IMODE(package.stat().st_mode) == 0o600


def test_the_spec_comes_back(package, tmp_path):
    zipfile.ZipFile(package).extractall(tmp_path)
    assert read_spec(tmp_path) == SPEC
    (tmp_path / "job.json").write_text('{"kind": "run"}')
    with pytest.raises(BadInput, match=r"job\.json\.name is missing"):
        read_spec(tmp_path)


def test_it_runs_from_its_own_folder_and_nothing_else(package, tmp_path):
    """Imports, settings tree and commit come from what was shipped."""
    zipfile.ZipFile(package).extractall(tmp_path)
    code = (
        "import had_core, orchestrator, orchestrator.cli.job\n"
        "from orchestrator.resources import folder\n"
        "from orchestrator.execution.provenance import commit\n"
        "print(orchestrator.__file__, had_core.__file__, folder('experiments'), sep='\\n')\n"
        "print(commit())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *places, commit = done.stdout.split("\n")[:4]
    assert all(place.startswith(str(tmp_path)) for place in places)
    assert commit == zipfile.ZipFile(package).read("orchestrator/_resources/commit").decode()


def test_a_stopped_job_gets_time_to_end_cleanly():
    assert JOB_ENVIRONMENT["RAY_JOB_STOP_SIGNAL"] == "SIGINT"
    assert int(JOB_ENVIRONMENT["RAY_JOB_STOP_WAIT_TIME_S"]) >= 300
