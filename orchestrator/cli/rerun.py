"""``had rerun``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import (
    DEFAULT_STORE,
    AsJson,
    Overrides,
    Store,
    absolute_store,
    console,
    emit_json,
)


def rerun(
    stage: Annotated[str, typer.Argument(help="A stage: its key's first digits or MLflow run id.")],
    overrides: Overrides = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Train one stage again from its parent's stored checkpoint.

    Without overrides it must come out as it was sealed, and the command says whether it did. With
    overrides (method, net, train, seed, data) it becomes a new stage beside the old one.
    """
    from orchestrator.app.rerun import rerun as rerun_app
    from orchestrator.config import StoreConfig
    from orchestrator.display.live import make_display

    with make_display(console(stderr=True), silent=as_json) as display:
        result = rerun_app(stage, StoreConfig(absolute_store(store)), overrides or [], display)
    if as_json:
        emit_json(result.to_json())
    else:
        from orchestrator.display.tables import rerun_tables

        console().print(rerun_tables(result))
    if result.reproduced is False and result.same_numerics is not False:
        raise typer.Exit(1)
