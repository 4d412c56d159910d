"""``had plan``."""

from __future__ import annotations

from orchestrator.cli.output import AsJson, Overrides, console, emit_json


def plan(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show what a run would train and what the store holds already."""
    from orchestrator.app.plan import plan as plan_app
    from orchestrator.config import compose

    notes = console(stderr=True)
    result = plan_app(
        compose(overrides or [], searches=False), lambda text: notes.print(text, soft_wrap=True)
    )
    if as_json:
        emit_json(result.to_json())
        return
    from orchestrator.display.tables import plan_table

    console().print(plan_table(result))
