"""The package a job runs from: this code, its settings tree, and what the job is told.

A zip with fixed times and a fixed order, so that the same code and the same job are the same bytes
and are uploaded once. It holds the two packages and their resources, and nothing of the folder one
stands in: no data, no store, no repository.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import had_core
import orchestrator
from had_core.canonical import to_plain
from had_core.decode import decode
from orchestrator import resources
from orchestrator.execution.environment import SHIPPED, file_of
from orchestrator.execution.provenance import COMMIT_FILE, commit
from orchestrator.jobs.job import JobSpec

SPEC_FILE = "job.json"
# A node may name the interpreter; else it is the one that its shell finds.
ENTRYPOINT = 'exec "${HAD_PYTHON:-python}" -m orchestrator.cli.job'
_RESOURCES = ("experiments", "cluster")
_LEFT_OUT = {"__pycache__", "_resources"}
_TIME = (1980, 1, 1, 0, 0, 0)

# A stopped driver first lets its lanes end their epoch and closes its journal and MLflow's runs;
# after so long Ray kills it. An epoch that takes longer is then lost, finished ones are not.
STOP_PATIENCE_S = 600

JOB_ENVIRONMENT = {
    SHIPPED: "1",
    "RAY_JOB_STOP_SIGNAL": "SIGINT",
    "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_PATIENCE_S),
}


def write_package(target: Path, spec: JobSpec) -> None:
    """Write the zip; its permissions are for its owner only."""
    target.touch(mode=0o600)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(_contents(spec).items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, data)


def read_spec(folder: Path) -> JobSpec:
    """What the job in this folder is told.

    Raises:
        BadInput: the file is not one that ``write_package`` wrote.
    """
    return decode(JobSpec, json.loads((folder / SPEC_FILE).read_text()), at=SPEC_FILE)


def _contents(spec: JobSpec) -> Mapping[str, bytes]:
    # Keys in their own order: a comparison's tables follow it.
    files = {SPEC_FILE: json.dumps(to_plain(spec), indent=1).encode()}
    for package in (orchestrator, had_core):
        folder = Path(file_of(package)).parent
        files |= {f"{folder.name}/{name}": data for name, data in _below(folder)}
    for name in _RESOURCES:
        folder = resources.folder(name)
        files |= {f"orchestrator/_resources/{name}/{n}": data for n, data in _below(folder)}
    files[f"orchestrator/_resources/{COMMIT_FILE}"] = commit().encode()
    return files


def _below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part in _LEFT_OUT or part.startswith(".") for part in inner.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield inner.as_posix(), path.read_bytes()
