"""What a fit tells about itself while it runs, and what it needs to continue."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from had_core.errors import CorruptArtifact

if TYPE_CHECKING:
    from torch import Tensor


OPENING_STEPS = 2
"""Steps at the beginning of a fit whose loss terms are kept one by one."""


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Attributes:
        epoch: 1-based.
        steps: optimiser steps of the fit so far.
        images: training images seen in this epoch, over all ranks.
        seconds: wall time of this epoch.
        lr: learning rate of its last step.
        terms: weighted loss terms, global batch, averaged over the epoch's steps.
        scores: task -> metric -> value on the validation part after this epoch, None where one is
            not defined; empty where ``train.eval_every`` asks for none.
        opening: terms of each of the first ``OPENING_STEPS`` steps of the fit; of the first epoch
            alone. They tell another setting from rounding, which has not grown by then.
    """

    epoch: int
    steps: int
    images: int
    seconds: float
    lr: float
    terms: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    opening: tuple[Mapping[str, float], ...] = ()

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> EpochRecord:
        """From what ``asdict`` and JSON made of one."""
        return cls(**{**raw, "opening": tuple(raw.get("opening", ()))})


@dataclass(frozen=True)
class FitProgress:
    """State at the end of an epoch: resuming from it is bitwise the uninterrupted run.

    ``tensors`` holds ``net/<name>`` and ``optim/<parameter>/<state>``; batches and random states
    follow from the seed and the epoch, so they need no storing.
    """

    epoch: int
    tensors: Mapping[str, Tensor]
    history: tuple[EpochRecord, ...]

    def to_bytes(self) -> bytes:
        from had_core.tensors import to_bytes

        meta = {"epoch": self.epoch, "history": [asdict(record) for record in self.history]}
        return to_bytes(self.tensors, meta)

    @classmethod
    def from_bytes(cls, raw: bytes) -> FitProgress:
        """Raises CorruptArtifact where the bytes are damaged."""
        from had_core.tensors import from_bytes

        tensors, meta = from_bytes(raw)
        history = tuple(EpochRecord.from_json(record) for record in meta["history"])
        return cls(epoch=meta["epoch"], tensors=tensors, history=history)

    @staticmethod
    def epoch_in(raw: bytes) -> int:
        """Epoch of a serialised state, whose tensors are not read.

        Raises CorruptArtifact where the bytes are damaged.
        """
        try:
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            return int(json.loads(header["__metadata__"]["meta"])["epoch"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptArtifact(f"these bytes are no state of a fit: {error}") from None


class StageObserver(Protocol):
    """Handed into a fit, so that no call points upwards. Every rank has one."""

    def on_step(self, epoch: int, step: int, steps_per_epoch: int) -> None:
        """After every optimiser step; must be cheap."""
        ...

    def on_epoch(self, record: EpochRecord, progress: Callable[[], FitProgress]) -> None:
        """After every epoch; ``progress`` gives the state as it is trained, no copy: serialise it
        before returning."""
        ...

    def cancelled(self) -> bool:
        """Asked before every epoch on every rank; one yes stops all of them."""
        ...


class SilentObserver:
    """Does nothing; a base for observers that care about one event."""

    def on_step(self, epoch: int, step: int, steps_per_epoch: int) -> None:
        return None

    def on_epoch(self, record: EpochRecord, progress: Callable[[], FitProgress]) -> None:
        return None

    def cancelled(self) -> bool:
        return False
