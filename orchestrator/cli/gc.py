"""``had gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import (
    DEFAULT_STORE,
    AsJson,
    Store,
    absolute_store,
    console,
    emit_json,
    had_command,
)


def gc(
    apply: Annotated[
        bool, typer.Option("--apply", help="Delete what is listed; it cannot be had back.")
    ] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List the stages that no kept run needs, with their sizes; --apply deletes them.

    Every run, comparison, sweep and rerun is kept until had runs --drop NAME. Kept runs, registered
    models and whatever is being trained keep their stages and all ancestors of these.
    """
    from orchestrator.app.book.collecting import collect
    from orchestrator.display.garbage import gc_table

    where = absolute_store(store)
    result = collect(where, apply=apply)
    if as_json:
        emit_json(result.to_json())
        return
    console().print(gc_table(result, had_command("gc", "--apply", store=where)))
