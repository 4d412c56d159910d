"""``had predict``."""

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


def predict(
    stage: Annotated[str, typer.Argument(help="A stage: its key's first digits or MLflow run id.")],
    images: Annotated[str, typer.Argument(help="A folder of png, jpg and npy files, or one.")],
    out: Annotated[str, typer.Argument(help="A new or empty folder.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Run every head of a stage's net on images, and write arrays and pictures.

    Images may be of any size, each of another; predictions have the size of their image. All are
    looked at first: if one cannot be read, it is named and nothing is written.
    """
    from orchestrator.app.book.predicting import predict as predict_app

    notes = console(stderr=True)
    result = predict_app(
        *(stage, images, out, absolute_store(store)),
        device=device,
        note=lambda text: notes.print(f"had: {text}", soft_wrap=True, markup=False),
    )
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.use import predict_text

    console().print(predict_text(result), soft_wrap=True)
