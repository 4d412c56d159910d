"""``had compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from orchestrator.cli.failures import continued_by
from orchestrator.cli.output import AsJson, Overrides, console, emit_json, had_command, show_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.config import RunConfig
    from orchestrator.display.comparison import CompareResult


def compare(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Train several methods over the same orders and seeds, and score them on the test set.

    methods=[naive,lwf,had] names them; experiment=compare_rooms is an example. The same command
    again continues where it stopped.
    """
    execute_compare(compose_comparison(overrides or []), as_json)


def compose_comparison(overrides: Sequence[str]) -> RunConfig:
    """The settings of a comparison."""
    from had_core.errors import BadInput
    from orchestrator.config import compose

    config = compose(overrides, searches=False)
    if not config.compared:
        raise BadInput(
            "methods=null is not allowed in a comparison: name them (methods=[naive,lwf,had]) or a "
            "recipe that does (experiment=compare_rooms)"
        )
    return config


def execute_compare(config: RunConfig, as_json: bool) -> None:
    """The comparison that settings describe, from the display to the exit code."""
    from orchestrator.app.compare import compare as compare_app
    from orchestrator.display.live import make_display

    again = had_command("resume", config.name, store=config.store.root)
    with continued_by(again), make_display(console(stderr=True), silent=as_json) as display:
        result = compare_app(config, display)
    if as_json:
        emit_json(result.to_json())
    else:
        show(result, again)
    if result.run.failures:
        raise typer.Exit(1)


def show(result: CompareResult, again: str) -> None:
    from orchestrator.display.compare_tables import compare_tables

    console().print(compare_tables(result))
    run = result.run
    more = {"results": result.results, "continue": again if run.failures else None}
    show_facts("compare", run.name, run.store, run.tracking_uri, **more)
