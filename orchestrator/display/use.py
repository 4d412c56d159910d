"""What the commands that use a trained net have to show: frozen values with a JSON form."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain
from had_core.tasks import DenseTask, TaskKind
from orchestrator.display.numbers import duration
from orchestrator.display.wide import simple_table

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHAPES = {TaskKind.UNIT_VECTOR: ("height", "width", "3")}
_MEANS = {
    TaskKind.LABELS: "class index",
    TaskKind.SCALAR: "value",
    TaskKind.UNIT_VECTOR: "unit vector x, y, z",
    TaskKind.BINARY: "probability 0..1",
}
_SHOWN = 5


@dataclass(frozen=True)
class PredictedTask:
    """What the arrays of one task hold.

    Attributes:
        dtype: numpy's name.
        shape: names of the axes.
        holds: what a value is.
        unit: of a scalar, empty where there is none.
        classes: their names by index, where they have any.
    """

    task: str
    kind: str
    dtype: str
    shape: tuple[str, ...]
    holds: str
    unit: str
    classes: tuple[str, ...]

    @classmethod
    def of(cls, task: DenseTask) -> PredictedTask:
        return cls(
            task=task.name,
            kind=task.kind.value,
            dtype=task.prediction_dtype,
            shape=_SHAPES.get(task.kind, ("height", "width")),
            holds=_MEANS[task.kind],
            unit=task.unit,
            classes=task.class_names,
        )


@dataclass(frozen=True)
class PredictedImage:
    """One image, as it was predicted on."""

    file: str
    height: int
    width: int


@dataclass(frozen=True)
class PredictResult:
    """What ``had predict`` wrote.

    Attributes:
        images: how many.
        ignored: names of what is no image in their folder.
    """

    key: str
    store: str
    out: str
    images: int
    ignored: tuple[str, ...]
    tasks: tuple[PredictedTask, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export."""

    name: str
    size: int
    digest: str

    @classmethod
    def of(cls, name: str, data: bytes) -> ExportedFile:
        return cls(name, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class ExportResult:
    """What ``had export`` wrote.

    Attributes:
        any_size: whether the program takes images of other sizes than those of training.
        difference: largest absolute difference between the program's outputs and the net's.
    """

    key: str
    store: str
    out: str
    files: tuple[ExportedFile, ...]
    any_size: bool
    difference: float

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def export_text(result: ExportResult) -> RenderableType:
    """The files, and what to do with them."""
    from rich.console import Group
    from rich.text import Text

    table = simple_table(f"stage {result.key[:12]} in {result.out}")
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("SHA-256", overflow="fold")
    for file in result.files:
        table.add_row(file.name, f"{file.size:,}".replace(",", " "), file.digest[:16])
    return Group(table, Text("card.md says what it is; python load_example.py IMAGE tries it"))


@dataclass(frozen=True)
class RegisterResult:
    """A stage's version in MLflow's registry.

    Attributes:
        uri: what ``mlflow.pyfunc.load_model`` takes.
        new: made by this command; else it was there.
        tracking_uri: of the MLflow, without credentials.
        run_id, model_id: of the stage's run and logged model there.
    """

    key: str
    store: str
    name: str
    version: str
    uri: str
    new: bool
    tracking_uri: str
    run_id: str
    model_id: str

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def register_text(result: RegisterResult) -> RenderableType:
    """Which version it is, and how to load it."""
    from rich.text import Text

    done = "registered as" if result.new else "was registered before as"
    return Text(
        f"stage {result.key[:12]} {done} {result.uri}\n\n"
        "    import mlflow\n"
        f'    mlflow.set_tracking_uri("{result.tracking_uri}")\n'
        f'    model = mlflow.pyfunc.load_model("{result.uri}")\n'
        "    predictions = model.predict(images)  # float32 [N,H,W,3] in 0..1 -> {task: array}"
    )


def predict_text(result: PredictResult) -> RenderableType:
    """What was predicted, and where it lies."""
    from rich.console import Group
    from rich.text import Text

    count = f"{result.images} image{'s' if result.images != 1 else ''}"
    table = simple_table(f"{count} in {duration(result.seconds)}, stage {result.key[:12]}")
    for column in ("task", "array", "holds"):
        table.add_column(column, overflow="fold")
    for task in result.tasks:
        shape = " x ".join(task.shape)
        unit = f", {task.unit}" if task.unit else ""
        table.add_row(task.task, f"{task.dtype} {shape}", f"{task.holds}{unit}")
    lines = [f"in {result.out}: TASK/IMAGE.npy, TASK/IMAGE.png, predictions.json"]
    if result.ignored:
        more = f" and {len(result.ignored) - _SHOWN} more" if len(result.ignored) > _SHOWN else ""
        shown = ", ".join(result.ignored[:_SHOWN])
        lines.append(f"left out as no images: {shown}{more}")
    return Group(table, Text("\n".join(lines)))
