from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_jobs import FakeJobs

from had_core.errors import BadInput
from orchestrator.jobs.client import ConnectionLost, IdTaken
from orchestrator.jobs.job import JobSpec, JobState
from orchestrator.jobs.submitting import find, submit

SPEC = JobSpec("run", "try", "/shared/store", {"seed": 0})


@pytest.fixture(autouse=True)
def no_code(monkeypatch):
    """Packages hold the job alone; test_shipping.py is about the code in them."""
    monkeypatch.setattr("orchestrator.jobs.shipping._below", lambda folder: ())


def test_the_first_submission_ships_what_the_job_is_told():
    api = FakeJobs()
    submitted = submit(api, SPEC)
    assert (submitted.attached, submitted.before) == (False, 0)
    assert submitted.job.id == f"{SPEC.stem}-1"
    told = json.loads(api.packages[submitted.job.id]["job.json"])
    assert (told["kind"], told["payload"]) == ("run", {"seed": 0})


def test_the_same_again_attaches_while_it_lives_and_continues_under_a_fresh_id_afterwards():
    api = FakeJobs()
    first = submit(api, SPEC).job
    again = submit(api, SPEC)
    assert (again.job, again.attached) == (first, True)
    assert api.asked == [f"submit {first.id}"]
    api.end(first.id, JobState.STOPPED)
    resumed = submit(api, SPEC)
    assert (resumed.attached, resumed.before) == (False, 1)
    assert resumed.job.id == f"{SPEC.stem}-2"


@pytest.mark.parametrize(
    "other", [replace(SPEC, payload={"seed": 1}), replace(SPEC, kind="sweep")], ids=["seed", "kind"]
)
def test_a_living_job_keeps_its_run_for_itself(other):
    api = FakeJobs()
    first = submit(api, SPEC).job
    with pytest.raises(BadInput, match=f"job {first.id} is working on 'try' in /shared/store"):
        submit(api, other)
    assert len(api.jobs) == 1
    api.end(first.id, JobState.SUCCEEDED)
    assert not submit(api, other).attached


def test_another_name_or_store_is_another_job():
    api = FakeJobs()
    submit(api, SPEC)
    assert not submit(api, replace(SPEC, name="more")).attached
    assert not submit(api, replace(SPEC, store="/elsewhere")).attached


def test_two_that_submit_at_once_share_one_job():
    class Raced(FakeJobs):
        def submit(self, job_id, spec, package):
            if not self.jobs:
                self.add(job_id, spec)  # the other one was a moment faster
                raise IdTaken(job_id)
            super().submit(job_id, spec, package)

    api = Raced()
    submitted = submit(api, SPEC)
    assert submitted.attached
    assert list(api.jobs) == [submitted.job.id]


def test_a_lost_answer_starts_no_second_job():
    class Busy(FakeJobs):
        def submit(self, job_id, spec, package):
            super().submit(job_id, spec, package)
            raise ConnectionLost("timed out")

    api = Busy()
    submitted = submit(api, SPEC)
    assert submitted.attached
    assert api.asked == [f"submit {submitted.job.id}"]


def test_a_cluster_that_takes_nothing_is_given_up():
    class Deaf(FakeJobs):
        def submit(self, job_id, spec, package):
            self.asked.append("submit")
            raise ConnectionLost("timed out")

    api = Deaf()
    with pytest.raises(ConnectionLost):
        submit(api, SPEC)
    assert len(api.asked) == 3


def test_an_id_of_a_deleted_job_is_not_taken_again():
    api = FakeJobs()
    api.add(f"{SPEC.stem}-1")  # not ours any more: its metadata is gone
    assert submit(api, SPEC).job.id == f"{SPEC.stem}-2"


def test_jobs_are_found_by_id_name_and_beginning():
    api = FakeJobs()
    old = submit(api, SPEC).job
    api.end(old.id, JobState.SUCCEEDED)
    new = submit(api, SPEC).job
    foreign = api.add("raysubmit_x")
    assert find(api, old.id).id == old.id
    assert find(api, "try") == new
    assert find(api, "raysub") == foreign
    with pytest.raises(BadInput, match="begins 2 ids"):
        find(api, "run-try")
    with pytest.raises(BadInput, match="job 'nobody' is not known to the cluster: the newest are"):
        find(api, "nobody")
    with pytest.raises(BadInput, match="it has none"):
        find(FakeJobs(), "x")
