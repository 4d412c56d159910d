"""``had explain``."""

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

_STAGE = "A stage: its key's first digits or MLflow run id."


def explain(
    left: Annotated[str, typer.Argument(metavar="A", help=_STAGE)],
    right: Annotated[str, typer.Argument(metavar="B", help=_STAGE)],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Say why two stages have different keys: what differs, field by field.

    A stage's key follows from its own settings and its parent's key. So two stages are compared
    generation by generation, from fresh weights down; where they part is the cause of the rest.
    """
    from orchestrator.app.book.explaining import explain as explain_app

    result = explain_app(left, right, absolute_store(store))
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.explain_tables import explain_tables

    console().print(explain_tables(result))
