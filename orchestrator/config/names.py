"""Lists of task names in settings."""

from __future__ import annotations

from collections.abc import Sequence

from had_core.decode import closest
from had_core.errors import BadInput


def check_names(
    key: str,
    names: Sequence[str],
    *,
    allowed: Sequence[str] | None = None,
    complete: bool = False,
) -> None:
    """At least one name, none twice, none outside ``allowed``; with ``complete`` all of them.

    Raises:
        BadInput: naming ``key``, the offending name and what is allowed.
    """
    shown = f"{key}=[{','.join(names)}]"
    if not names:
        raise BadInput(f"{shown} is not allowed: one task or more")
    for name in names:
        if allowed is not None and name not in allowed:
            near = closest(name, allowed)
            raise BadInput(
                f"{shown} names the unknown task '{name}'{near}: allowed are {', '.join(allowed)}"
            )
        if list(names).count(name) > 1:
            raise BadInput(f"{shown} names the task '{name}' twice: each may come once")
    missing = [name for name in allowed or () if name not in names]
    if complete and missing:
        raise BadInput(
            f"{shown} leaves out '{missing[0]}': an order names each of the tasks once "
            f"(tasks=[{','.join(allowed or ())}])"
        )
