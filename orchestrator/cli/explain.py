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


def explain(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="A [B] [KEY=VALUE]...",
            help="One or two stages: first digits of a key, or an MLflow run id. Then settings.",
        ),
    ],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Say why two stages have different keys: what differs, field by field.

    A stage's key follows from its own settings and its parent's key. So two stages are compared
    generation by generation, from fresh weights down; where they part is the cause of the rest.

    With A and settings, as had run takes them: why these settings do not find A in the store. A
    key that had plan prints can be named with the same settings, and is compared with the nearest
    sealed stage; so is A alone.
    """
    from orchestrator.app.book.explaining import explain as explain_app

    names, overrides = _parted(words)
    notes = console(stderr=True)
    result = explain_app(
        names,
        overrides,
        absolute_store(store),
        lambda text: notes.print(text, soft_wrap=True, markup=False),
    )
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.explain_tables import explain_tables

    console().print(explain_tables(result))


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Stages and overrides."""
    from had_core.errors import BadInput

    names = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if not names:
        raise BadInput("a stage is missing: the first digits of its key, before the settings")
    if len(names) > 2:
        raise BadInput(f"{' '.join(names)} are {len(names)} stages: one or two can be explained")
    return names, overrides
