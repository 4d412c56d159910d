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

Ancestors = Annotated[
    bool, typer.Option("--ancestors", help="First train the ancestors that the store lacks.")
]
Descendants = Annotated[
    bool, typer.Option("--descendants", help="Also every sealed stage that starts from this one.")
]


def rerun(
    stage: Annotated[str, typer.Argument(help="A stage: its key's first digits or MLflow run id.")],
    overrides: Overrides = None,
    ancestors: Ancestors = False,
    descendants: Descendants = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Train one stage again from its parent's stored checkpoint.

    Without overrides it must come out as it was sealed, and the command says whether it did; the
    sealed stage is never replaced. With overrides (method, train, seed: of this stage alone, its
    parent stays) it becomes a new stage beside the old one. Overrides of cluster, dataset.path and
    tracking say where it runs.
    """
    from orchestrator.app.rerun import rerun as rerun_app
    from orchestrator.config import StoreConfig
    from orchestrator.display.live import make_display

    with make_display(console(stderr=True), silent=as_json) as display:
        result = rerun_app(
            stage,
            StoreConfig(absolute_store(store)),
            overrides or [],
            display,
            ancestors=ancestors,
            descendants=descendants,
        )
    if as_json:
        emit_json(result.to_json())
    else:
        from orchestrator.display.rerun_tables import rerun_tables

        console().print(rerun_tables(result))
    if not result.holds:
        raise typer.Exit(1)
