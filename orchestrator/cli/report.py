"""``had report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.output import DEFAULT_STORE, AsJson, Store, absolute_store, emit_json


def report(
    name: Annotated[str, typer.Argument(help="A run, comparison or sweep; had runs lists them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The file to write; NAME.html (.md, .tex, .parquet) without."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="html (the whole page), md, latex or parquet (the result table); without, as the "
            "file's name ends.",
            show_default=False,
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write a report of a run, comparison or sweep, finished or not, as one page.

    The page needs no network. It tells what is missing or failed; nothing is trained.
    """
    from orchestrator.app.book.report_file import write_report

    written = write_report(name, absolute_store(store), out, to)
    if as_json:
        emit_json(written.to_json())
        return
    for sentence in written.troubles:
        typer.echo(sentence)
    typer.echo(f"report    {written.file}")
