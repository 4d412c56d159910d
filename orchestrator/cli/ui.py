"""``had ui``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.output import DEFAULT_STORE, Store, absolute_store


def ui(
    store: Store = DEFAULT_STORE,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow's data, where a run set tracking.uri.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.")] = 5000,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> None:
    """Open MLflow's UI over a store, on this machine only (127.0.0.1)."""
    from orchestrator.app.opening import open_existing
    from orchestrator.execution.formats import read_file
    from orchestrator.store import ArtifactKind, Store
    from orchestrator.tracking.location import require_usable_uri
    from orchestrator.tracking.ui import serve

    root = absolute_store(store)
    if tracking_uri is not None:
        require_usable_uri(tracking_uri)
    opened = open_existing(root) if tracking_uri is None else Store.open(root)
    serve(
        opened.uri,
        tracking_uri,
        port=port,
        open_browser=open_browser,
        pictures=lambda key, file: read_file(opened, ArtifactKind.EVAL, key, file),
    )
