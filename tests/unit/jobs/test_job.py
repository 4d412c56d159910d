from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.jobs.job import Job, JobSpec, JobState

SPEC = JobSpec("run", "try", "/shared/store", {"seed": 0}, words=("submit", "run"), user="ada")


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, kind="sweep"),
        replace(SPEC, name="again"),
        replace(SPEC, store="/elsewhere"),
        replace(SPEC, payload={"seed": 1}),
    ],
)
def test_what_makes_another_job(other):
    assert other.identity != SPEC.identity
    assert other.stem != SPEC.stem


def test_who_submits_it_and_how_it_was_typed_make_no_other_job():
    assert replace(SPEC, user="bob", words=("submit", "run", "x=1")).identity == SPEC.identity


def test_a_place_is_a_name_in_a_store_whatever_the_command():
    assert replace(SPEC, kind="sweep", payload={"seed": 1}).place == SPEC.place
    assert replace(SPEC, name="again").place != SPEC.place


def test_the_metadata_shows_no_settings():
    secret = replace(SPEC, payload={"tracking": {"uri": "postgresql://ada:secret@db/x"}})
    assert "secret" not in str(secret.metadata) + secret.stem
    assert secret.metadata["had.name"] == "try"


def test_an_id_is_safe_in_paths_and_urls():
    assert replace(SPEC, name="a/b c").stem.startswith("run-a-b-c-")


def test_a_job_comes_back_from_the_api():
    job = Job.of(
        {
            "submission_id": "run-try-1",
            "status": "FAILED",
            "metadata": SPEC.metadata,
            "start_time": 1500,
            "end_time": 4500,
            "driver_exit_code": 2,
            "message": None,
        }
    )
    assert (job.ours, job.kind, job.name, job.user) == (True, "run", "try", "ada")
    assert (job.identity, job.place) == (SPEC.identity, SPEC.place)
    assert (job.started, job.ended, job.exit_code) == (1.5, 4.5, 2)
    assert not Job.of({"submission_id": "x", "status": "RUNNING", "metadata": None}).ours


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [
        (JobState.SUCCEEDED, 0, 0),
        (JobState.STOPPED, None, 130),
        (JobState.FAILED, 2, 2),
        (JobState.FAILED, None, 1),
        (JobState.FAILED, 0, 1),
        (JobState.FAILED, -9, 1),
        (JobState.FAILED, 137, 137),
    ],
)
def test_the_exit_status_of_following_it(state, code, status):
    assert Job("x", state, exit_code=code).status == status


def test_rays_reason_is_told_where_the_command_gave_none():
    message = "Failed to set up\n  the runtime environment" + "x" * 1000
    assert Job("x", JobState.FAILED, message=message).why.startswith("Failed to set up the runtime")
    assert len(Job("x", JobState.FAILED, message=message).why) == 400
    assert Job("x", JobState.FAILED, exit_code=2, message=message).why == ""
    assert Job("x", JobState.STOPPED, message=message).why == ""
