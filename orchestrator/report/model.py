"""The values of a report: frozen, gathered by ``app/book/reporting.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.display.comparison import CompareResult
from orchestrator.display.sweep_results import SweepResult

_LONGEST = 36  # letters of an order in a figure


@dataclass(frozen=True)
class SweepPart:
    """What a sweep has beyond a comparison of its best setting with the reference.

    Attributes:
        importance: objective -> parameter -> share; empty where the study tells too little.
        log_scale: parameters that were searched on a logarithmic scale.
    """

    result: SweepResult
    importance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    log_scale: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shown:
    """One method's predictions of one task for one image.

    Attributes:
        after: what stages taught, in order (``after depth``) -> PNG of the prediction.
    """

    method: str
    after: Mapping[str, bytes]


@dataclass(frozen=True)
class Example:
    """One image with the truth of one task and what methods predicted, stage after stage.

    Attributes:
        image, truth: PNG.
        legend: PNG that says what the colours mean.
    """

    task: str
    image: bytes
    truth: bytes
    legend: bytes
    shown: tuple[Shown, ...]

    @property
    def titles(self) -> tuple[str, ...]:
        """Of every stage that has a picture of any method."""
        return tuple(dict.fromkeys(title for shown in self.shown for title in shown.after))


@dataclass(frozen=True)
class Gallery:
    """Example predictions of one order and seed.

    Attributes:
        left_out: why something is missing; empty where nothing is.
    """

    order: tuple[str, ...] = ()
    seed: int = 0
    examples: tuple[Example, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class Hours:
    """Processor time, in hours: of CPUs (threads x workers) or of GPUs.

    Attributes:
        spent: by stages that this run trained.
        found: by stages that others had trained.
        alone: what every sequence would have taken by itself, as far as its stages are sealed.
    """

    spent: float = 0.0
    found: float = 0.0
    alone: float = 0.0

    @property
    def saved(self) -> float:
        return self.alone - self.spent


@dataclass(frozen=True)
class Cost:
    """Stages and time.

    Attributes:
        wanted: stages that the sequences ask for, a shared one every time.
        unique: different ones among them.
        trained: sealed by this run; reused: sealed by others.
        hours: processor (``CPU``, or a GPU's name) -> hours.
    """

    wanted: int
    unique: int
    trained: int
    reused: int
    hours: Mapping[str, Hours]

    @property
    def missing(self) -> int:
        """Stages that are not sealed."""
        return self.unique - self.trained - self.reused


@dataclass(frozen=True)
class Made:
    """How the numbers came about.

    Attributes:
        commands: purpose -> command line.
        facts: label -> text: data set, net, training, versions, commits.
    """

    commands: Mapping[str, str]
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        kind: ``run``, ``compare`` or ``sweep``.
        state: as ``had runs`` has it: finished, running, failed, killed.
        split: what was scored, ``test`` or ``val``.
        begun, ended: as recorded, for people; empty while unknown.
        result: the methods; of a sweep the reference and the best setting.
        troubles: what is missing, unfinished or failed, a sentence each.
    """

    name: str
    kind: str
    recipe: str
    state: str
    split: str
    begun: str
    ended: str
    result: CompareResult
    cost: Cost
    made: Made
    sweep: SweepPart | None = None
    gallery: Gallery = Gallery()
    troubles: tuple[str, ...] = ()

    @property
    def orders(self) -> tuple[tuple[str, ...], ...]:
        """In the sequence in which they were asked for."""
        return tuple(dict.fromkeys(sequence.order for sequence in self.result.run.sequences))

    @property
    def order_names(self) -> Mapping[tuple[str, ...], str]:
        """What figures call the orders: in full, or by number where that is too long."""
        full = {order: " → ".join(order) for order in self.orders}
        if all(len(name) <= _LONGEST for name in full.values()):
            return full
        return {order: f"order {number}" for number, order in enumerate(self.orders, 1)}

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(sequence.seed for sequence in self.result.run.sequences))
