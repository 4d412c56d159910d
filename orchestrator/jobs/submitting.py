"""Submitting: what lives already is attached to, what ended is continued under a fresh id."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from had_core.errors import BadInput, HadError
from orchestrator.jobs.client import ConnectionLost, IdTaken, JobsApi
from orchestrator.jobs.job import Job, JobSpec
from orchestrator.jobs.shipping import write_package

_RACES = 20
_LOST = 2


@dataclass(frozen=True)
class Submitted:
    """The job to follow.

    Attributes:
        attached: it lived before; nothing was started.
        before: how often the same was submitted before and has ended.
    """

    job: Job
    attached: bool
    before: int


def submit(api: JobsApi, spec: JobSpec) -> Submitted:
    """Start the job, or find the same one alive. Two that submit the same at once share one job.

    Raises:
        BadInput: a living job writes the same run with other settings.
    """
    lost = 0
    for _ in range(_RACES):
        known = api.list()
        same = [job for job in known if job.identity == spec.identity]
        living = next((job for job in same if job.state.lives), None)
        if living is not None:
            return Submitted(living, attached=True, before=len(same) - 1)
        _refuse_other(known, spec)
        job_id = _fresh_id(spec, known)
        with tempfile.TemporaryDirectory(prefix="had-job-") as folder:
            package = Path(folder) / "job.zip"
            write_package(package, spec)
            try:
                api.submit(job_id, spec, package)
            except IdTaken:  # by someone who submits the same now, or by one that was deleted
                continue
            except ConnectionLost:  # on a busy cluster the answer alone may be lost: look again
                lost += 1
                if lost > _LOST:
                    raise
                continue
        return Submitted(api.get(job_id), attached=False, before=len(same))
    raise HadError(f"no free submission id for {spec.stem}: every one is taken")


def _fresh_id(spec: JobSpec, known: Sequence[Job]) -> str:
    taken = {job.id for job in known}
    number = 1
    while (job_id := f"{spec.stem}-{number}") in taken:
        number += 1
    return job_id


def _refuse_other(known: Sequence[Job], spec: JobSpec) -> None:
    for job in known:
        if job.state.lives and job.place == spec.place:
            raise BadInput(
                f"job {job.id} is working on '{spec.name}' in {spec.store} with other settings: "
                f"had stop {job.id} first, or another name="
            )


def find(api: JobsApi, wanted: str) -> Job:
    """A job by its id, the beginning of one, or the name of its run (the newest).

    Raises:
        BadInput: there is none, or several ids begin so.
    """
    jobs = sorted(api.list(), key=lambda job: job.started or 0.0)
    for match in (
        [job for job in jobs if job.id == wanted],
        [job for job in jobs if job.ours and job.name == wanted][-1:],
        [job for job in jobs if job.id.startswith(wanted)],
    ):
        if len(match) == 1:
            return match[0]
        if match:
            listed = ", ".join(job.id for job in match[-5:])
            raise BadInput(f"job '{wanted}' begins {len(match)} ids: one of {listed}")
    listed = ", ".join(job.id for job in jobs[-5:])
    there = f"the newest are {listed}" if listed else "it has none"
    raise BadInput(f"job '{wanted}' is not known to the cluster: {there}")
