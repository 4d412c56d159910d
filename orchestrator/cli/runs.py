"""``had runs``."""

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
)


def runs(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A run: its sequences and trials are listed; with * or ?: runs of such a name.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only run, compare or sweep.", show_default=False)
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Only running, finished, failed, killed or new.", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List the runs, comparisons and sweeps of a store, or the sequences of one.

    A run is new before its first driver began, and killed where its driver is gone.
    """
    from orchestrator.app.book import listing
    from orchestrator.display.run_lists import run_page, runs_table

    where = absolute_store(store)
    if name is not None and not any(sign in name for sign in "*?"):
        page = listing.one_run(name, where)
        emit_json(page.to_json()) if as_json else console().print(run_page(page))
        return
    found = listing.runs(where, like=name, kind=kind, state=state)
    emit_json(found.to_json()) if as_json else console().print(runs_table(found))
