"""``had data build | import | check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from had_core.data.rooms.config import MOST_IMAGES
from orchestrator.cli.output import AsJson, console, emit_json

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from had_core.data.check import CheckReport

app = typer.Typer(help="Make and check data sets.", no_args_is_help=True)


@app.command("build")
def build(
    name: Annotated[str, typer.Argument(help="The embedded data set: rooms.")],
    out: Annotated[
        str | None, typer.Option(help="Folder to write; by default the one dataset=rooms reads.")
    ] = None,
    train: Annotated[int, typer.Option(help="Training images.", min=1, max=MOST_IMAGES)] = 800,
    test: Annotated[int, typer.Option(help="Test images.", min=1, max=MOST_IMAGES)] = 200,
    height: Annotated[int, typer.Option(help="Pixels.", min=16, max=4096)] = 96,
    width: Annotated[int, typer.Option(help="Pixels.", min=16, max=4096)] = 128,
    seed: Annotated[int, typer.Option(help="Seed of every scene.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Render an embedded data set."""
    from had_core.configs import require
    from had_core.data.rooms import RoomsConfig
    from had_core.data.rooms import build as build_rooms

    require(name == "rooms", "data set", name, "rooms")
    config = RoomsConfig(seed=seed, train=train, test=test, height=height, width=width)
    folder = out or f"had-data/rooms-{train}-{test}-{height}x{width}-seed{seed}"
    _report(build_rooms(folder, config), as_json)


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="Layout of the source: nyuv2 (MTAN's).")],
    src: Annotated[str, typer.Argument(help="Folder to read.")],
    dst: Annotated[str, typer.Argument(help="Folder to write.")],
    as_json: AsJson = False,
) -> None:
    """Import a data set that lies on this machine."""
    from had_core.configs import require
    from had_core.data.nyuv2 import import_mtan

    require(name == "nyuv2", "layout", name, "nyuv2")
    _report(import_mtan(src, dst), as_json)


@app.command("check", short_help="Verify checksums and values of a data set.")
def check(
    dst: Annotated[str, typer.Argument(help="Folder of a built or imported data set.")],
    as_json: AsJson = False,
) -> None:
    """Verify every shard against its checksum and every value against its task.

    Exit code 2 where the data set cannot be used as it is.
    """
    from had_core.canonical import to_plain
    from had_core.data.check import check as check_data
    from had_core.errors import BadInput, CorruptArtifact

    try:
        report = check_data(dst, strict=False)
    except CorruptArtifact as error:  # the manifest: there is nothing to check by
        raise BadInput(str(error)) from None
    if as_json:
        emit_json({"ok": report.ok, **to_plain(report)})
    else:
        _show_check(report)
    if not report.ok:
        raise typer.Exit(2)


def _report(dataset: ShardDataset, as_json: bool) -> None:
    """What was written."""
    manifest = dataset.manifest
    facts = {
        "name": manifest.name,
        "path": str(dataset.path),
        "images": {name: split.count for name, split in manifest.splits.items()},
        "height": manifest.height,
        "width": manifest.width,
        "tasks": [task.name for task in manifest.tasks],
        "fingerprint": dataset.fingerprint,
    }
    if as_json:
        emit_json(facts)
        return
    out = console()
    for key, value in facts.items():
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{count} {name}" for name, count in value.items())
        if isinstance(value, list):
            shown = ", ".join(value)
        out.print(f"{key:<13}{shown}", soft_wrap=True, markup=False, highlight=False)


def _show_check(report: CheckReport) -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{report.name} {report.width} x {report.height}  {report.path}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for title in ("split", "images", "task", "kind", "labelled", "valid", "least", "most"):
        right = title in ("images", "labelled", "valid", "least", "most")
        table.add_column(title, justify="right" if right else "left")
    for split in report.splits:
        for i, task in enumerate(split.tasks):
            first = (split.name, str(split.count)) if i == 0 else ("", "")
            ends = ("-" if x is None else f"{x:.4g}" for x in (task.minimum, task.maximum))
            table.add_row(
                *first,
                task.name,
                task.kind.value,
                str(task.labelled_images),
                f"{task.valid_share:.1%}",
                *ends,
            )
        table.add_section()
    out = console()
    out.print(table)
    for problem in report.problems:
        out.print(f"problem: {problem}", style="bold red", markup=False, soft_wrap=True)
    if report.ok:
        out.print(f"sound; fingerprint {report.fingerprint}", soft_wrap=True, highlight=False)
