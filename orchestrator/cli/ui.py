"""``had ui``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import DEFAULT_STORE, Store, absolute_store


def ui(
    store: Store = DEFAULT_STORE,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the UI has no password.")
    ] = "127.0.0.1",
) -> None:
    """Open MLflow's UI over a store, on this machine only."""
    from orchestrator.tracking.ui import serve

    serve(absolute_store(store), host=host, port=port)
