"""``had resume``: any run, comparison or sweep by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.output import (
    DEFAULT_STORE,
    AsJson,
    Overrides,
    Store,
    absolute_store,
    console,
)
from orchestrator.cli.sweep import Trials, execute_sweep, more_trials

if TYPE_CHECKING:
    from orchestrator.config import RunConfig

Fork = Annotated[
    bool,
    typer.Option("--fork", help="Start another run with the changed settings, under a new name."),
]


def resume(
    name: Annotated[str, typer.Argument(help="Name of a run, comparison or sweep started before.")],
    overrides: Overrides = None,
    store: Store = DEFAULT_STORE,
    fork: Fork = False,
    trials: Trials = None,
    as_json: AsJson = False,
) -> None:
    """Continue what was started under a name, with the settings it was started with.

    Overrides may change where it runs (cluster, tracking, dataset.path). What decides results may
    change with --fork only: that is another run, which shares every stage that stays the same.
    """
    from had_core.errors import BadInput
    from orchestrator.app.run import recorded

    known = recorded(absolute_store(store), name)
    config = _wanted(known, overrides or [], fork=fork)
    more = more_trials(trials)
    if config.search is not None:
        execute_sweep(config, as_json, more)
    elif more:
        raise BadInput(f"--trials={trials} is not allowed: {name} is no sweep")
    elif config.compared:
        from orchestrator.cli.compare import execute_compare

        execute_compare(config, as_json)
    else:
        from orchestrator.cli.run import execute_run

        execute_run(config, as_json)


def _wanted(known: RunConfig, overrides: list[str], *, fork: bool) -> RunConfig:
    """The recorded settings as they shall be now."""
    from had_core.errors import BadInput
    from orchestrator.app.datasets import require_found
    from orchestrator.config import changed, differences, forked, in_short

    config = changed(known, overrides) if overrides else known
    if replace(config.dataset, path=known.dataset.path) == known.dataset:
        require_found(config.dataset, known.dataset)
    changes = differences(known, config)
    if not changes and fork:
        raise BadInput(
            f"--fork is not allowed: nothing that decides results differs from {known.name}"
        )
    if not changes:
        return config
    if not fork:
        raise BadInput(
            f"'{known.name}' was started with other settings ({in_short(changes)}): "
            "leave them out to continue it, or add --fork to start another run with them"
        )
    other = forked(config, known)
    notes = console(stderr=True)
    notes.print(
        f"{other.name}: {known.name} with {'; '.join(changes)}", soft_wrap=True, markup=False
    )
    return other
