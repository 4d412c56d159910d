"""Errors that a person can act on."""

from __future__ import annotations


class HadError(Exception):
    """Base of every error this project raises on purpose."""


class BadInput(HadError):
    """Input that cannot be used.

    The message is one sentence that names the file, key or value and says what is allowed.
    The command line prints it and exits with code 2.
    """


class CorruptArtifact(HadError):
    """A file on disk does not match the checksum that was recorded when it was written."""


class NonFiniteLoss(HadError):
    """A loss term became NaN or infinite; every rank agrees on the step and the term."""

    def __init__(self, epoch: int, step: int, term: str) -> None:
        super().__init__(f"loss term '{term}' is not finite at epoch {epoch}, step {step}")
        self.epoch, self.step, self.term = epoch, step, term


class NonFiniteNet(HadError):
    """Weights or outputs of a net became NaN or infinite though no loss term did.

    A step's loss is that of the weights before it: the last step's can end anywhere.
    """


class Cancelled(HadError):
    """The observer asked the stage to stop; nothing was sealed."""
