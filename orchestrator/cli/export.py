"""``had export``."""

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


def export(
    stage: Annotated[str, typer.Argument(help="A stage: its key's first digits or MLflow run id.")],
    out: Annotated[str, typer.Argument(help="A new or empty folder.")],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write a stage's net as files that need no store: weights, program, card, example.

    model.safetensors holds the weights and says itself what net they are of, model.pt2 is a
    torch.export program, card.md says how good it is and where it comes from.
    """
    from orchestrator.app.book.exporting import export as export_app

    result = export_app(stage, out, absolute_store(store))
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.use import export_text

    console().print(export_text(result), soft_wrap=True)
