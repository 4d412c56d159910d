"""``had sync``."""

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


def sync(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Runs; all by default.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also runs of which MLflow is said to have everything.")
    ] = False,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="Another MLflow than each run's own.", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Replay into MLflow what it missed; nothing is written twice.

    The store's journals hold everything that happened, whether MLflow answered at the time or not.
    """
    from orchestrator.app.book.syncing import sync as sync_app

    result = sync_app(absolute_store(store), names or [], tracking_uri, every=every)
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.sync_list import sync_text

    console().print(sync_text(result), soft_wrap=True)
