"""``had show``."""

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


def show(
    stage: Annotated[str, typer.Argument(help="A stage: its key's first digits or MLflow run id.")],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show one stage: its settings, parent, children, row of R, users and files.

    A stage that is being trained or was interrupted is found by its key, with what is kept of it.
    """
    from orchestrator.app.book.showing import show as show_app

    result = show_app(stage, absolute_store(store))
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.show_tables import show_tables

    console().print(show_tables(result))
