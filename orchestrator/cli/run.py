"""``had run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from orchestrator.cli.failures import continued_by
from orchestrator.cli.output import AsJson, Overrides, console, emit_json, had_command, show_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.config import RunConfig
    from orchestrator.display.results import RunResult


def run(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Train what the settings describe; what the store holds is reused.

    The same command again continues where it stopped.
    """
    execute_run(compose_run(overrides or []), as_json)


def compose_run(overrides: Sequence[str]) -> RunConfig:
    """The settings of a run of one method."""
    from had_core.errors import BadInput
    from orchestrator.config import compose

    config = compose(overrides, searches=False)
    if config.compared:
        raise BadInput(
            f"methods=[{','.join(config.compared)}] is not allowed in a run of one method: "
            "had compare takes several"
        )
    return config


def execute_run(config: RunConfig, as_json: bool) -> None:
    """The run that settings describe, from the display to the exit code."""
    from orchestrator.app.run import run as run_app
    from orchestrator.display.live import make_display

    again = had_command("resume", config.name, store=config.store.root)
    with continued_by(again), make_display(console(stderr=True), silent=as_json) as display:
        result = run_app(config, display)
    if as_json:
        emit_json(result.to_json())
    else:
        show(result, again)
    if result.failures:
        raise typer.Exit(1)


def show(result: RunResult, again: str) -> None:
    """The tables, and where things lie."""
    from orchestrator.display.tables import run_tables

    console().print(run_tables(result))
    unfinished = {"continue": again} if result.failures else {}
    show_facts("run", result.name, result.store, result.tracking_uri, **unfinished)
