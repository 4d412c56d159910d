"""``had submit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.output import DEFAULT_STORE, AsJson, Store, absolute_store, console, emit_json
from orchestrator.cli.remote import Address, TokenPath
from orchestrator.cli.rerun import Ancestors, Descendants
from orchestrator.cli.sweep import Trials

if TYPE_CHECKING:
    from orchestrator.jobs.submitting import Submitted


def submit(
    kind: Annotated[str, typer.Argument(metavar="COMMAND", help="run, sweep, compare or rerun.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STAGE] KEY=VALUE",
            help="What the command takes here: settings; for rerun a stage first.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    token_path: TokenPath = None,
    ssh: Annotated[
        str | None,
        typer.Option(
            "--ssh",
            envvar="HAD_SSH",
            help="USER@HOST of the head, for the command that opens the MLflow UI.",
            show_default=False,
        ),
    ] = None,
    trials: Trials = None,
    ancestors: Ancestors = False,
    descendants: Descendants = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job.")] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Execute a command on a Ray cluster and follow it; the exit code is the job's.

    Settings are composed here and shipped with this code. The same again attaches to the job
    while it lives, and continues its run once it has ended.
    """
    from orchestrator.cli.kinds import Asked, kind_of
    from orchestrator.cli.remote import follow_here, open_cluster, ui_command
    from orchestrator.jobs.submitting import submit as submit_job

    asked = Asked(tuple(words or ()), absolute_store(store), trials, ancestors, descendants)
    spec = kind_of(kind).spec(asked)
    target, api = open_cluster(address, token_path)
    submitted = submit_job(api, spec)
    job = submitted.job
    ui = ui_command(target, api.head(), spec.store, _tracking(spec.payload), ssh)
    notes = console(stderr=True)
    for line in _introduction(submitted, ui):
        notes.print(line, soft_wrap=True, markup=False, highlight=False)
    if detach:
        if as_json:
            emit_json({"job": job.to_json(), "attached": submitted.attached, "ui": ui})
        else:
            console().print(job.id, highlight=False)
        return
    ended = follow_here(api, job, as_json=as_json)
    if ended.status:
        why = f" ({ended.why})" if ended.why else ""
        notes.print(
            f"job {ended.id}: {ended.state.value}{why}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    elif ui:
        notes.print(f"MLflow UI: {ui}", soft_wrap=True, markup=False, highlight=False)
    raise typer.Exit(ended.status)


def _tracking(payload: Any) -> Any:
    from had_core.decode import decode
    from orchestrator.config import TrackingConfig

    config = payload.get("config", {})
    return decode(TrackingConfig, config.get("tracking", {}), at="tracking")


def _introduction(submitted: Submitted, ui: str | None) -> list[str]:
    job, before = submitted.job, submitted.before
    if submitted.attached:
        first = f"job {job.id} is {job.state.value} already: following it"
    elif before:
        first = f"job {job.id} continues what {before} before it did"
    else:
        first = f"job {job.id} was submitted"
    lines = [f"{first} (had stop {job.id} ends it)"]
    if ui:
        lines.append(f"MLflow UI: {ui}")
    return lines
