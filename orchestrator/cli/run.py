"""``had run`` and ``had resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.failures import continued_by
from orchestrator.cli.output import (
    DEFAULT_STORE,
    AsJson,
    Overrides,
    Store,
    absolute_store,
    console,
    emit_json,
    had_command,
)

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.display.results import RunResult


def run(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Train what the settings describe; what the store holds is reused.

    The same command again continues where it stopped.
    """
    from orchestrator.config import compose

    _execute(compose(overrides or []), as_json)


def resume(
    name: Annotated[str, typer.Argument(help="Name of a run that was started before.")],
    overrides: Overrides = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Continue a run by its name, with the settings it was started with.

    Overrides may change where it runs (cluster, tracking, dataset.path), not what is trained.
    """
    from orchestrator.app.run import recorded

    config = recorded(absolute_store(store), name)
    _execute(_moved(config, overrides or []), as_json)


def _moved(config: RunConfig, overrides: list[str]) -> RunConfig:
    from had_core.errors import BadInput
    from orchestrator.config import RunConfig, apply_overrides

    allowed = {key: key for key in ("cluster", "tracking", "dataset")}
    moved = RunConfig.from_json(apply_overrides(config.to_json(), overrides, allowed=allowed))
    if moved.hash != config.hash:
        raise BadInput(
            f"{' '.join(overrides)} changes what '{config.name}' trains: a run is continued with "
            "its own settings; start another with had run"
        )
    return moved


def _execute(config: RunConfig, as_json: bool) -> None:
    from orchestrator.app.run import run as run_app
    from orchestrator.display.live import make_display

    again = had_command("resume", config.name, store=config.store.root)
    with continued_by(again), make_display(console(stderr=True), silent=as_json) as display:
        result = run_app(config, display)
    if as_json:
        emit_json(result.to_json())
    else:
        _show(result, again)
    if result.failures:
        raise typer.Exit(1)


def _show(result: RunResult, again: str) -> None:
    from orchestrator.display.tables import run_tables

    out = console()
    out.print(run_tables(result))
    out.print()
    facts = {"run": result.name, "store": result.store}
    if result.failures:
        facts["continue"] = again
    if result.tracking_uri is not None:
        facts["tracking"] = result.tracking_uri
        facts["see it"] = had_command("ui", store=result.store)
    for label, value in facts.items():
        out.print(f"{label:<10}{value}", soft_wrap=True, markup=False, highlight=False)
