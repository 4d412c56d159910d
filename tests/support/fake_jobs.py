"""A cluster's Jobs API in memory: what it was asked, and logs and states that a test decides."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from had_core.errors import BadInput
from orchestrator.jobs.client import ConnectionLost, IdTaken
from orchestrator.jobs.job import Job, JobSpec, JobState


class FakeJobs:
    """Jobs live until ``end`` is called.

    Attributes:
        packages: names and bytes of what was shipped, by job.
        pieces: what ``tail`` yields, by job; a ConnectionLost among them is raised, once.
        asked: every call that changes something.
    """

    def __init__(self, head: str | None = "10.0.0.1") -> None:
        self.jobs: dict[str, Job] = {}
        self.packages: dict[str, dict[str, bytes]] = {}
        self.pieces: dict[str, list[str | ConnectionLost | None]] = {}
        self.asked: list[str] = []
        self.gone = False
        self._head = head

    def list(self) -> Sequence[Job]:
        self._answer()
        return tuple(self.jobs.values())

    def get(self, job_id: str) -> Job:
        self._answer()
        if job_id not in self.jobs:
            raise BadInput(f"job {job_id} is not known there")
        return self.jobs[job_id]

    def submit(self, job_id: str, spec: JobSpec, package: Path) -> None:
        self._answer()
        if job_id in self.jobs:
            raise IdTaken(job_id)
        self.asked.append(f"submit {job_id}")
        with zipfile.ZipFile(package) as archive:
            self.packages[job_id] = {name: archive.read(name) for name in archive.namelist()}
        self.add(job_id, spec)

    def stop(self, job_id: str) -> None:
        self._answer()
        self.asked.append(f"stop {job_id}")
        self.end(job_id, JobState.STOPPED)

    def read_log(self, job_id: str) -> str:
        self._answer()
        return "".join(p for p in self.pieces.get(job_id, []) if isinstance(p, str))

    def tail(self, job_id: str, idle_s: float) -> Iterator[str | None]:
        self._answer()
        for piece in list(self.pieces.get(job_id, [])):
            if isinstance(piece, ConnectionLost):
                self.pieces[job_id].remove(piece)
                raise piece
            yield piece
        if self.jobs[job_id].state.lives:
            self.end(job_id, JobState.SUCCEEDED)

    def head(self) -> str | None:
        return self._head

    # What a test decides ------------------------------------------------------------------------

    def add(self, job_id: str, spec: JobSpec | None = None, at: float | None = None) -> Job:
        metadata = spec.metadata if spec else {}
        started = 1000.0 * (len(self.jobs) + 1) if at is None else at * 1000
        self.jobs[job_id] = Job.of(
            {
                "submission_id": job_id,
                "status": "RUNNING",
                "metadata": metadata,
                "start_time": started,
            }
        )
        return self.jobs[job_id]

    def end(self, job_id: str, state: JobState, exit_code: int | None = None) -> None:
        job = self.jobs[job_id]
        ended = (job.started or 0.0) + 60.0
        self.jobs[job_id] = replace(job, state=state, exit_code=exit_code, ended=ended)

    def _answer(self) -> None:
        if self.gone:
            raise ConnectionLost("the cluster does not answer any more")
