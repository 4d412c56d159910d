"""What ``had gc`` found: frozen values with a JSON form, and their table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST = 50
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Garbage:
    """What nothing needs of one stage.

    Attributes:
        what: ``stage``: a sealed one with its evaluations, memories, progress and damaged copies;
            ``rest``: those of one that is not sealed; ``stray``: an evaluation or memory that
            nobody sealed, ``key`` being its own.
        tasks: that the stage knows, empty where that is not known.
        run: that sealed it, empty likewise.
    """

    key: str
    what: str
    tasks: tuple[str, ...]
    run: str
    bytes: int


@dataclass(frozen=True)
class GcResult:
    """A finished ``had gc``.

    Attributes:
        applied: whether the garbage was deleted; else it is only listed.
        garbage: what nothing needs (or needed, where applied), children before their parents.
        skipped: listed at first, but not deleted: somebody came to need it.
    """

    store: str
    applied: bool
    garbage: tuple[Garbage, ...]
    kept_runs: int
    kept_stages: int
    kept_bytes: int
    skipped: int = 0

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.garbage)

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return {**plain, "bytes": self.bytes}


def gc_table(result: GcResult, apply_command: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from orchestrator.display.numbers import counted
    from orchestrator.display.wide import simple_table

    kept = (
        f"{counted(result.kept_runs, 'run')} and the registered models keep "
        f"{counted(result.kept_stages, 'stage')}, {size_text(result.kept_bytes)}"
    )
    if not result.garbage:
        return Text(f"nothing to delete: {kept}")
    table = simple_table("")
    for title in ("key", "what", "tasks", "trained by"):
        table.add_column(title, overflow="fold")
    table.add_column("size", justify="right")
    for each in result.garbage[:_MOST]:
        facts = (each.key[:12], each.what, " → ".join(each.tasks) or "-", each.run or "-")
        table.add_row(*map(Text, facts), size_text(each.bytes))
    more = len(result.garbage) - _MOST
    lines = [f"and {more} more: see --json"] if more > 0 else []
    count = sum(each.what == "stage" for each in result.garbage)
    others = len(result.garbage) - count
    remains = f" and remains of {counted(others, 'other')}" if others else ""
    total = f"{counted(count, 'stage')}{remains}, {size_text(result.bytes)}"
    if result.applied:
        lines.append(f"deleted {total}; {kept}")
        if result.skipped:
            lines.append(f"{result.skipped} more came to be needed meanwhile and stay")
    else:
        lines.append(f"nobody needs {total}; {kept}")
        lines.append(f"nothing was deleted: {apply_command} does that")
    return Group(table, *map(Text, lines))


def size_text(size: float) -> str:
    """Bytes in a unit that leaves few digits.

    >>> size_text(0), size_text(1234), size_text(56_000_000)
    ('0 B', '1.2 kB', '56.0 MB')
    """
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError
