"""Shows a sweep while it runs."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console

from orchestrator.display.live import Display, LineDisplay, SilentDisplay
from orchestrator.search.events import TrialEnded, TrialEvent, TrialScored, TrialStarted


class SweepDisplay(Display, Protocol):
    """What a sweep reports to. Methods may be called from any thread and return at once."""

    def begin_sweep(self, name: str, *, trials: int, done: int) -> None:
        """The study is known: so many trials are wanted, so many have ended before."""
        ...

    def trial(self, event: TrialEvent) -> None: ...


class SilentSweepDisplay(SilentDisplay):
    """Shows nothing but notes, on stderr: for ``--json``."""

    def begin_sweep(self, name: str, *, trials: int, done: int) -> None:
        return None

    def trial(self, event: TrialEvent) -> None:
        return None


class LineSweepDisplay(LineDisplay):
    """One line a trial, an order and a stage: for logs and pipes."""

    def begin_sweep(self, name: str, *, trials: int, done: int) -> None:
        self.begin(name, to_train=0, cached=0)
        self.note(f"{name}: {trials - done} trials to run, {done} done")

    def trial(self, event: TrialEvent) -> None:
        match event:
            case TrialStarted():
                shown = "  ".join(f"{path} {value:.4g}" for path, value in event.params.items())
                self.note(f"{event.label}: starts  {shown}")
            case TrialScored():
                self.note(f"{event.label}: {event.orders_done} orders, {event.value:+.2f}")
            case TrialEnded():
                why = f": {event.message}" if event.message else ""
                self.note(f"{event.label}: {event.state.value}{why}")


def make_sweep_display(console: Console, *, silent: bool) -> SweepDisplay:
    """The display that fits where the output goes."""
    return SilentSweepDisplay(console) if silent else LineSweepDisplay(console)
