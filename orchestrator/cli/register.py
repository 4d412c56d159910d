"""``had register``."""

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


def register(
    stage: Annotated[str, typer.Argument(help="A stage: its key's first digits or MLflow run id.")],
    name: Annotated[str, typer.Argument(help="Of the model in MLflow's registry.")],
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="Another MLflow than that of the stage's run.", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Register a stage's net as a model in MLflow, to load with mlflow.pyfunc.load_model.

    The same stage under the same name is registered once. A registered stage stays in the store.
    """
    from orchestrator.app.book.registering import register_stage

    result = register_stage(stage, name, absolute_store(store), tracking_uri)
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.use import register_text

    console().print(register_text(result), soft_wrap=True)
