"""``had runs``."""

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
    had_command,
)


def runs(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A run: its sequences and trials are listed; with * or ?: runs of such a name.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only run, compare or sweep.", show_default=False)
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Only running, finished, failed, killed or new.", show_default=False),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Keep nothing for this run's sake any more: had gc lists what it alone needs.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Undo --drop.", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List the runs, comparisons and sweeps of a store, or the sequences of one.

    A run is new before its first driver began, and killed where its driver is gone. --drop and
    --keep change what had gc may delete, and nothing else: journal and MLflow stay.
    """
    from orchestrator.app.book import listing
    from orchestrator.display.run_lists import run_page, runs_table

    where = absolute_store(store)
    if drop or keep:
        _drop(where, drop or [], keep or [], as_json, others=bool(name or kind or state))
        return
    if name is not None and not any(sign in name for sign in "*?"):
        page = listing.one_run(name, where)
        emit_json(page.to_json()) if as_json else console().print(run_page(page))
        return
    found = listing.runs(where, like=name, kind=kind, state=state)
    emit_json(found.to_json()) if as_json else console().print(runs_table(found))


def _drop(where: str, drop: list[str], keep: list[str], as_json: bool, *, others: bool) -> None:
    from had_core.errors import BadInput
    from orchestrator.app.book.dropping import drop as drop_runs

    if others:
        raise BadInput("--drop and --keep stand alone: no name, --kind or --state beside them")
    result = drop_runs(where, drop, keep)
    if as_json:
        emit_json(result.to_json())
        return
    lines = [f"dropped: {', '.join(result.dropped)}"] if result.dropped else []
    lines += [f"kept again: {', '.join(result.kept)}"] if result.kept else []
    if result.dropped:
        lines.append(f"{had_command('gc', store=where)} lists what nobody needs now")
    console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
