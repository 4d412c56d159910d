"""``had doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from orchestrator.cli.output import (
    DEFAULT_STORE,
    AsJson,
    Store,
    absolute_store,
    console,
    emit_json,
)

if TYPE_CHECKING:
    from orchestrator.cli.checks import Check


def doctor(store: Store = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Look at this machine and this installation.

    Versions, libraries, devices, settings, disk and MLflow; exit code 1 if one check fails.
    """
    from had_core.canonical import to_plain
    from orchestrator.cli.checks import Status, all_checks

    checks = all_checks(absolute_store(store))
    failed = [check for check in checks if check.status is Status.FAILED]
    if as_json:
        emit_json({"ok": not failed, "checks": to_plain(checks)})
    else:
        _show(checks)
    if failed:
        raise typer.Exit(1)


def _show(checks: list[Check]) -> None:
    from rich import box
    from rich.table import Table

    from orchestrator.cli.checks import Status

    styles = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red"}
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("group", "check", "state", "value"):
        table.add_column(title, overflow="fold")
    group = ""
    for check in checks:
        if group and check.group != group:
            table.add_section()
        shown = check.group if check.group != group else ""
        value = f"{check.value}\n{check.hint}" if check.hint else check.value
        style = styles[check.status]
        table.add_row(shown, check.name, f"[{style}]{check.status.value}[/]", value)
        group = check.group
    console().print(table)
