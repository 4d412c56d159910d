"""What the driver hears of a sweep's trials."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from orchestrator.search.objective import OrderScore
from orchestrator.search.settings import Params


class TrialEnd(enum.Enum):
    """How a trial ended.

    INTERRUPTED: the sweep was stopped; the same setting comes again when the sweep goes on.
    """

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TrialStarted:
    """A setting was chosen.

    Attributes:
        number: of the study's trial.
        label: the same as a name (``t0007``); it stands for the trial in the queue and the journal.
    """

    number: int
    label: str
    params: Params


@dataclass(frozen=True)
class TrialScored:
    """One more order counts.

    Attributes:
        orders_done: whole orders that count, this one included.
        value: of the objective over these orders; of the first where there are two.
        scores: of these orders, in the common sequence.
    """

    label: str
    orders_done: int
    value: float
    scores: tuple[OrderScore, ...]


@dataclass(frozen=True)
class TrialEnded:
    """The last event of a trial.

    Attributes:
        values: what the study was told; of the orders so far where it was pruned, empty where
            there is nothing.
        message: why it failed.
    """

    label: str
    number: int
    state: TrialEnd
    values: tuple[float, ...] = ()
    message: str = ""


TrialEvent = TrialStarted | TrialScored | TrialEnded


def label_of(number: int) -> str:
    """The trial's name: ``t0007``."""
    return f"t{number:04d}"
