"""``had sweep``."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.failures import continued_by
from orchestrator.cli.output import AsJson, Overrides, console, emit_json, had_command, show_facts

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.display.sweep_results import SweepResult

Trials = Annotated[
    str | None,
    typer.Option("--trials", metavar="+N", help="Judge N more settings than were asked for."),
]


def sweep(overrides: Overrides = None, trials: Trials = None, as_json: AsJson = False) -> None:
    """Search method settings, each judged across task orders; stages are trained once.

    The same command again continues where it stopped.
    """
    from orchestrator.config import compose

    more = more_trials(trials)
    execute_sweep(compose(overrides or [], search="tpe"), as_json, more)


def more_trials(text: str | None) -> int:
    """What ``--trials +N`` adds."""
    from had_core.decode import shortened
    from had_core.errors import BadInput
    from orchestrator.search.settings import MOST_TRIALS

    if text is None:
        return 0
    if not re.fullmatch(r"\+\d{1,6}", text) or not 1 <= int(text) <= MOST_TRIALS:
        raise BadInput(
            f"--trials={shortened(text)} is not allowed: +N, the number of further trials (1 to "
            f"{MOST_TRIALS})"
        )
    return int(text)


def execute_sweep(config: RunConfig, as_json: bool, more: int = 0) -> None:
    """Run what remains of a sweep and show what it found."""
    from orchestrator.app.sweep import sweep as sweep_app
    from orchestrator.display.sweep_live import make_sweep_display

    again = had_command("resume", config.name, store=config.store.root)
    with continued_by(again), make_sweep_display(console(stderr=True), silent=as_json) as display:
        result = sweep_app(config, display, more)
    if as_json:
        emit_json(result.to_json())
    else:
        show(result, again)
    if not result.best:
        raise typer.Exit(1)


def show(result: SweepResult, again: str) -> None:
    from orchestrator.display.sweep_tables import sweep_tables

    console().print(sweep_tables(result))
    ended = sum(result.counts[state] for state in ("complete", "pruned", "failed"))
    more = {
        "study": result.study,
        "results": result.results,
        "continue": again if ended < result.trials_wanted else f"{again} --trials +10",
        "settings": shlex.join(result.again) or None,
    }
    show_facts("sweep", result.name, result.store, result.tracking_uri, **more)
