"""``had jobs``, ``had logs`` and ``had stop``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.output import AsJson, console, emit_json
from orchestrator.cli.remote import Address, JobName, TokenPath, follow_here, open_cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.jobs.client import JobsApi
    from orchestrator.jobs.job import Job

_POLL_S = 1.0


def jobs(
    address: Address = None,
    token_path: TokenPath = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Also jobs that had submit did not make.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a cluster, the newest last."""
    target, api = open_cluster(address, token_path)
    found = sorted(api.list(), key=lambda job: (job.started or 0.0, job.id))
    shown = [job for job in found if job.ours or everyone]
    if as_json:
        emit_json({"address": target.url, "jobs": [job.to_json() for job in shown]})
    else:
        _show(shown)


def logs(
    job: JobName,
    address: Address = None,
    token_path: TokenPath = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until it ends; the exit code is the job's.")
    ] = False,
) -> None:
    """Show what a job has written."""
    from orchestrator.cli.kinds import display_of
    from orchestrator.cli.remote import Terminal
    from orchestrator.jobs.following import LogClock, Replay
    from orchestrator.jobs.submitting import find

    _, api = open_cluster(address, token_path)
    known = find(api, job)
    if follow:
        raise typer.Exit(follow_here(api, known, as_json=False, on_stdout=True).status)
    clock = LogClock()
    with display_of(known.kind, console(), False, clock) as display:
        terminal = Terminal(display, console(), as_json=False)
        replay = Replay(display, terminal, clock)
        replay.feed(api.read_log(known.id))
        replay.close()
    terminal.close()


def stop(
    job: JobName,
    address: Address = None,
    token_path: TokenPath = None,
    as_json: AsJson = False,
) -> None:
    """End a job: running stages finish their epoch, everything finished is kept.

    The same submission again continues it.
    """
    from orchestrator.jobs.submitting import find

    _, api = open_cluster(address, token_path)
    known = find(api, job)
    if known.state.lives:
        console(stderr=True).print(
            f"job {known.id} ends after this epoch", soft_wrap=True, highlight=False
        )
        known = _stopped(api, known)
    if as_json:
        emit_json(known.to_json())
    else:
        console().print(f"job {known.id}: {known.state.value}", soft_wrap=True, highlight=False)


def _stopped(api: JobsApi, job: Job) -> Job:
    """Ask it to end and wait until it has."""
    from orchestrator.cli.failures import Interrupted
    from orchestrator.jobs.shipping import STOP_PATIENCE_S

    api.stop(job.id)
    deadline = time.monotonic() + STOP_PATIENCE_S + 60
    try:
        while job.state.lives and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            job = api.get(job.id)
    except KeyboardInterrupt:
        raise Interrupted(f"not waited for any more; job {job.id} ends by itself") from None
    return job


def _show(found: Sequence[Job]) -> None:
    from rich import box
    from rich.table import Table

    from orchestrator.display.numbers import duration

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("job", "run", "state", "by", "began", "took", "exit"):
        table.add_column(title, justify="right" if title in ("took", "exit") else "left")
    now = time.time()
    for job in found:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started)) if job.started else ""
        took = duration((job.ended or now) - job.started) if job.started else ""
        code = "" if job.exit_code is None else str(job.exit_code)
        table.add_row(job.id, job.name or "-", job.state.value, job.user, began, took, code)
    console().print(table if found else "no jobs")
