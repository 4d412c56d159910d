"""What the commands on a cluster share: which cluster, its Jobs API, and how a job shows here."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from orchestrator.cli.output import console, emit_json

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.config import TrackingConfig
    from orchestrator.jobs.client import JobsApi
    from orchestrator.jobs.job import Job
    from orchestrator.jobs.target import Target

_UI_PORT = 5000

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="HAD_ADDRESS",
        help="The cluster's dashboard, http://HOST:8265; by default the local cluster that is up.",
        show_default=False,
    ),
]
TokenPath = Annotated[
    str | None,
    typer.Option(
        "--token-path",
        help="File with the cluster's token; by default as Ray finds it.",
        show_default=False,
    ),
]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Its id, the beginning of one, or its run's name.")
]


def open_cluster(address: str | None, token_path: str | None) -> tuple[Target, JobsApi]:
    """The cluster, once it is certain that it can be used.

    Raises:
        BadInput: no cluster, or one that cannot be used from here.
    """
    from orchestrator.jobs.client import connect
    from orchestrator.jobs.target import find_target

    target = find_target(address, token_path)
    if target.in_the_clear:
        console(stderr=True).print(
            f"note: {target.url} is not encrypted, everyone on the way can read the token: "
            "ssh -N -L 8265:127.0.0.1:8265 USER@HOST and --address http://127.0.0.1:8265",
            soft_wrap=True,
        )
    return target, connect(target)


class Terminal:
    """Where a followed job shows: its tables or its JSON on stdout, everything before on stderr."""

    def __init__(self, display: Any, out: Console, *, as_json: bool) -> None:
        self._display, self._out, self._as_json = display, out, as_json
        self.tables: list[str] = []
        self.document: Any = None

    def note(self, text: str) -> None:
        if text:
            self._display.note(text)

    def result(self, document: Any) -> None:
        self.document = document

    def table(self, text: str) -> None:
        self.tables.append(text)

    def close(self) -> None:
        """Print what the command printed; call it once the live display is gone."""
        if self._as_json:
            if self.document is not None:
                emit_json(self.document)
            return
        for line in self.tables:
            self._out.print(line, soft_wrap=True, markup=False, highlight=False)


def follow_here(api: JobsApi, job: Job, *, as_json: bool, on_stdout: bool = False) -> Job:
    """Show the job until it has ended; Ctrl-C leaves it alone and says so.

    Args:
        on_stdout: everything goes there, for ``had logs``.
    """
    from orchestrator.cli.failures import Interrupted
    from orchestrator.cli.kinds import display_of
    from orchestrator.jobs.following import LogClock, Replay, follow

    clock = LogClock()
    try:
        with display_of(job.kind, console(stderr=not on_stdout), as_json, clock) as display:
            terminal = Terminal(display, console(), as_json=as_json)
            ended = follow(api, job, Replay(display, terminal, clock))
    except KeyboardInterrupt:
        raise Interrupted(
            f"not followed any more; the job goes on: had logs {job.id} --follow shows it, had "
            f"stop {job.id} ends it"
        ) from None
    terminal.close()
    return ended


def ui_command(
    target: Target, head: str | None, store: str, tracking: TrackingConfig, ssh: str | None
) -> str | None:
    """The command that opens the cluster's MLflow UI from this machine; None without tracking.

    A tracking server is only forwarded. For a database or sqlite the command also starts ``had ui``
    on the head, which ends with it.
    """
    if not tracking.enabled:
        return None
    uri = tracking.uri or ""
    serve = ["had", "ui", "--store", store, "--port", str(_UI_PORT)]
    if uri and not uri.startswith(("http://", "https://")):
        serve += ["--tracking-uri", _without_password(uri)]
    if target.local is not None:
        return uri if uri.startswith("http") else shlex.join(serve)
    host = ssh or (target.host if not target.is_loopback else None) or head or "USER@HEAD"
    if uri.startswith(("http://", "https://")):
        parts = urlsplit(uri)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return f"ssh -N -L {_UI_PORT}:{parts.hostname}:{port} {shlex.quote(host)}"
    there = shlex.quote(shlex.join(serve))
    return f"ssh -t -L {_UI_PORT}:127.0.0.1:{_UI_PORT} {shlex.quote(host)} {there}"


def _without_password(uri: str) -> str:
    from orchestrator.tracking.location import redact

    return redact(uri)
