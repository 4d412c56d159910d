"""What the commands that browse a store have to show: frozen values with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain
from orchestrator.plan.explain import Explanation

Row = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class ExplainResult:
    """Why two stages differ.

    Attributes:
        chosen: how the second was: ``named``, ``planned`` by the overrides, or ``nearest``.
        left_sealed, right_sealed: whether the store holds them; else they are only planned.
    """

    store: str
    explanation: Explanation
    chosen: str = "named"
    left_sealed: bool = True
    right_sealed: bool = True

    def to_json(self) -> dict[str, Any]:
        own = {
            "chosen": self.chosen,
            "left_sealed": self.left_sealed,
            "right_sealed": self.right_sealed,
            "same": self.explanation.same,
            "store": self.store,
        }
        return {**self.explanation.to_json(), **own}


@dataclass(frozen=True)
class Use:
    """A sequence of a run that trained or reused a stage."""

    run: str
    sequence: str


@dataclass(frozen=True)
class Child:
    """A stage that starts from this one; ``tasks`` are those that it learns."""

    key: str
    tasks: tuple[str, ...]
    sealed: bool


@dataclass(frozen=True)
class StageFile:
    """A sealed file: of which artefact (``fit``, ``eval test``), where in the store, bytes."""

    artifact: str
    path: str
    size: int


@dataclass(frozen=True)
class ShowResult:
    """One stage.

    Attributes:
        state: ``sealed``; ``partial``: epochs of it are kept; ``lost``: begun, or found damaged,
            and nothing of it can be used.
        tasks: all that its net knows; unknown (empty) unless it is sealed.
        learns: the tasks that it learns.
        settings: what its key is made of, without the parent; in short unless it is sealed.
        children: stages that started from it, as the journals tell.
        rows: split -> row of R.
        trained_by: the sequence that sealed it, or that trained it last.
        reused_by: sequences that found it sealed, or that another one trained it for.
        seconds: of training; None unless it is sealed.
        epochs_done: epochs of ``epochs`` that need not be trained again.
    """

    key: str
    store: str
    state: str
    tasks: tuple[str, ...]
    learns: tuple[str, ...]
    settings: Mapping[str, Any]
    parent: str | None
    children: tuple[Child, ...]
    rows: Mapping[str, Row]
    trained_by: Use
    reused_by: tuple[Use, ...]
    files: tuple[StageFile, ...]
    numerics: Mapping[str, Any]
    mixed_numerics: bool
    versions: Mapping[str, str]
    commit: str
    attempts: tuple[Mapping[str, int], ...]
    steps: int
    seconds: float | None
    epochs: int
    epochs_done: int

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain
