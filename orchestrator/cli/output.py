"""What commands share: their options, consoles, JSON and where the next command is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from had_core.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "had-store"
_WIDTH_OF_LOGS = 120  # where the output is no terminal

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings in Hydra's syntax: tasks=[depth,normal] method=had train.epochs=5",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document (docs/json.md) and nothing else.")
]
Store = Annotated[
    str, typer.Option("--store", envvar="HAD_STORE", help="Folder or URI of the store.")
]


def console(*, stderr: bool = False) -> Console:
    """A console that does not cut lines short where there is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _WIDTH_OF_LOGS)


def emit_json(value: Any) -> None:
    """The one document on stdout; sorted keys, NaN refused."""
    print(json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False))


def absolute_store(root: str) -> str:
    """A folder made absolute; URIs stay as they are."""
    return root if "://" in root else os.path.abspath(expanded(root))


def had_command(*words: str, store: str | None = None) -> str:
    """A command line to copy: ``had`` as it can be called from here, with the store if needed."""
    program = Path(sys.argv[0])
    found = shutil.which("had")
    if found and os.path.realpath(found) == os.path.realpath(program):
        had = "had"
    else:
        had = os.path.relpath(program) if program.name == "had" else "had"
    options = []
    if store is not None and store != absolute_store(os.environ.get("HAD_STORE", DEFAULT_STORE)):
        options = ["--store", store]
    return shlex.join([had, *words, *options])


def show_facts(
    kind: str, name: str, store: str, tracking_uri: str | None, **more: str | None
) -> None:
    """Below the tables: the name, where things lie, and what one may type next.

    Args:
        kind: of what has ended, ``run``.
        more: further lines by their label; None for those that there are not.
    """
    facts: dict[str, str | None] = {kind: name, "store": store, **more}
    if tracking_uri is not None:
        facts |= {"tracking": tracking_uri, "see it": _seen_with(tracking_uri, store)}
    out = console()
    out.print()
    for label, value in facts.items():
        if value is not None:
            out.print(f"{label:<10}{value}", soft_wrap=True, markup=False, highlight=False)


def _seen_with(uri: str, store: str) -> str:
    """What opens the MLflow UI: an address where it is a server already, else a command."""
    if uri.startswith(("http://", "https://")):
        return uri
    if uri == f"sqlite:///{store}/mlflow/mlflow.db":
        return had_command("ui", store=store)
    return had_command("ui", "--tracking-uri", uri, store=store)
