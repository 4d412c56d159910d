"""``had cluster up`` and ``had cluster down``: a cluster of several nodes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from had_core.paths import expanded
from orchestrator.cli.output import AsJson, console, emit_json

app = typer.Typer(help="A Ray cluster on this machine, to try had submit.", no_args_is_help=True)

State = Annotated[
    str | None,
    typer.Option(
        "--state",
        envvar="HAD_CLUSTER_STATE",
        help="Folder of the state file; by default in this user's state.",
        show_default=False,
    ),
]


@app.command("up", short_help="Start a cluster on 127.0.0.1; it stays until had cluster down.")
def up(
    local: Annotated[int, typer.Option("--local", help="So many nodes on this machine.")],
    cpus: Annotated[
        int | None,
        typer.Option(help="CPUs that each node offers; by default this machine's, shared out."),
    ] = None,
    port: Annotated[int, typer.Option(help="Of the dashboard; 0 for any free one.")] = 8265,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Start a cluster on 127.0.0.1 that only this user can use; it stays until had cluster down."""
    from orchestrator.jobs.local.control import up as start

    if local > 0:
        nodes = "one node" if local == 1 else f"{local} nodes"
        console(stderr=True).print(f"starting {nodes}", highlight=False)
    cluster = start(_folder(state), local, cpus, port)
    facts = {
        "address": cluster.address,
        "nodes": cluster.nodes,
        "cpus": cluster.cpus,
        "token_path": cluster.token_path,
        "state": str(_folder(state)),
    }
    if as_json:
        emit_json(facts)
        return
    out = console()
    for key, value in facts.items():
        out.print(f"{key:<12}{value}", soft_wrap=True, markup=False, highlight=False)
    out.print("\nhad submit run experiment=quickstart", soft_wrap=True, highlight=False)


@app.command("down")
def down(state: State = None, as_json: AsJson = False) -> None:
    """End the cluster; its jobs are stopped first, as had stop does."""
    from orchestrator.jobs.local.control import down as end
    from orchestrator.jobs.local.farewell import stop_jobs

    folder = _folder(state)
    stopped = stop_jobs(folder, lambda text: console(stderr=True).print(text, soft_wrap=True))
    cluster = end(folder)
    if as_json:
        emit_json({"was_up": cluster is not None, "stopped_jobs": stopped})
        return
    console().print("the local cluster is down" if cluster else "no local cluster was up")


def _folder(state: str | None) -> Path:
    from orchestrator.jobs.local.state import default_folder

    return expanded(state).absolute() if state else default_folder()
