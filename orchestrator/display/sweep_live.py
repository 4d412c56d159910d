"""Shows a sweep while it runs: live on a terminal, line by line elsewhere, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.display.live import (
    Clock,
    Display,
    SilentDisplay,
    event_line,
    left_text,
    stage_view,
)
from orchestrator.display.numbers import counted, duration, params_text
from orchestrator.display.sweep_progress import (
    BestTrial,
    StageCounts,
    SweepProgress,
    SweepStart,
)
from orchestrator.execution.messages import Event, LaneFault, Outcome
from orchestrator.search.events import TrialEnd, TrialEnded, TrialEvent, TrialStarted
from orchestrator.search.settings import Objective

MOST_TRIALS = 6  # running ones that are shown
_TITLES = {
    Objective.MEAN: "mean Δm",
    Objective.WORST: "worst Δm",
    Objective.CVAR: "CVaR of Δm",
    Objective.FINAL_AND_FORGETTING: "mean Δm",
}
_STYLES = {
    TrialEnd.COMPLETE: "green",
    TrialEnd.PRUNED: "yellow",
    TrialEnd.FAILED: "bold red",
    TrialEnd.INTERRUPTED: "yellow",
}


class SweepDisplay(Display, Protocol):
    """What a sweep reports to. Methods may be called from any thread and return at once.

    Events of the lanes come as a run's display hears them; ``begin`` is for runs.
    """

    def begin_sweep(self, start: SweepStart) -> None:
        """The study is open; trials begin."""
        ...

    def trial(self, event: TrialEvent) -> None: ...

    def count(self, counts: StageCounts) -> None:
        """The newest counts; each call replaces the last."""
        ...


class SilentSweepDisplay(SilentDisplay):
    """Shows nothing but notes, on stderr: for ``--json``."""

    def begin_sweep(self, start: SweepStart) -> None:
        return None

    def trial(self, event: TrialEvent) -> None:
        return None

    def count(self, counts: StageCounts) -> None:
        return None


class LineSweepDisplay(SilentSweepDisplay):
    """One line whenever a trial begins or ends and a stage ends: for logs and pipes."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._lock = threading.Lock()
        self._state: SweepProgress | None = None

    def begin_sweep(self, start: SweepStart) -> None:
        with self._lock:
            self._state = SweepProgress.of(start, self._clock())
        self.note(_opening(start))

    def event(self, event: Event) -> None:
        now = self._clock()
        with self._lock:
            before = self._state
            if before is None:
                return
            after = self._state = before.after(event, now)
        if isinstance(event, (Outcome, LaneFault)):
            line = event_line(event, before.stages, after.stages, now)
            if line:
                self.note(line)

    def trial(self, event: TrialEvent) -> None:
        with self._lock:
            before = self._state
            if before is None:
                return
            after = self._state = before.heard(event)
        line = trial_line(event, before, after)
        if line:
            self.note(line)

    def count(self, counts: StageCounts) -> None:
        with self._lock:
            if self._state is not None:
                self._state = self._state.counted(counts)


class LiveSweepDisplay(LineSweepDisplay):
    """Redraws in place; above it a line for every trial that ends and everything that fails."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        super().__init__(console, clock)
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def event(self, event: Event) -> None:
        now = self._clock()
        with self._lock:
            before = self._state
            if before is None:
                return
            after = self._state = before.after(event, now)
        failed = isinstance(event, Outcome) and event.failure is not None
        if failed or isinstance(event, LaneFault):
            line = event_line(event, before.stages, after.stages, now)
            if line:
                self.note(line)

    def trial(self, event: TrialEvent) -> None:
        with self._lock:
            before = self._state
            if before is None:
                return
            after = self._state = before.heard(event)
        line = trial_line(event, before, after) if isinstance(event, TrialEnded) else None
        if line:
            self.note(line)

    def _render(self) -> RenderableType:
        with self._lock:
            state = self._state
        return Text() if state is None else sweep_view(state, self._clock())


def make_sweep_display(
    console: Console, *, silent: bool, clock: Clock = time.monotonic
) -> SweepDisplay:
    """The display that fits where the output goes."""
    if silent:
        return SilentSweepDisplay(console)
    make = LiveSweepDisplay if console.is_terminal else LineSweepDisplay
    return make(console, clock)


def sweep_view(state: SweepProgress, now: float) -> RenderableType:
    """The whole live area."""
    return Group(*_head(state, now), _trials(state), *_stages(state, now))


def _head(state: SweepProgress, now: float) -> Iterator[RenderableType]:
    start, judged = state.start, state.judged
    left = state.seconds_left(now) if judged < start.trials else None
    ends = [
        (f", {state.ended[end]} {end.value}", _STYLES[end])
        for end in (TrialEnd.PRUNED, TrialEnd.FAILED)
        if state.ended.get(end)
    ]
    yield Text.assemble(
        (start.name, "bold"),
        f"  {judged} of {start.trials} trials",
        f", {len(state.running)} running",
        *ends,
        f"  {duration(now - state.began)}",
        left_text(left),
    )
    yield Text.assemble("  best so far  ", _best(state.best, start.objective))
    stages, counts = state.stages, state.counts
    pace = f"  {state.images_per_s:.1f} images/s" if state.images_per_s else ""
    yield Text.assemble(
        "  stages       ",
        f"{stages.trained} trained, {counts.reused} reused, {state.waiting} waiting",
        (f", {stages.failed} failed" if stages.failed else "", "bold red"),
        pace,
    )


def _best(best: BestTrial | None, objective: Objective) -> Text:
    if best is None:
        return Text("none is complete", style="dim")
    value = _value(best.values[0], objective)
    return Text.assemble((value, "bold green"), f"  {best.label}  {params_text(best.params)}")


def _trials(state: SweepProgress) -> RenderableType:
    """A line for each trial that runs, as far as there is room."""
    grid = Table.grid(padding=(0, 2))
    shown = list(state.running.values())[:MOST_TRIALS]
    for trial in shown:
        bar = ProgressBar(total=max(1, state.start.orders), completed=trial.orders_done, width=12)
        value = "" if trial.value is None else _value(trial.value, state.start.objective)
        done = f"{trial.orders_done}/{state.start.orders} orders"
        params = Text(params_text(trial.params), style="dim", overflow="ellipsis", no_wrap=True)
        grid.add_row(Text(f"  {trial.label}", style="bold"), bar, done, value, params)
    more = len(state.running) - len(shown)
    return Group(grid, Text(f"  and {more} more", style="dim")) if more else grid


def _stages(state: SweepProgress, now: float) -> Iterator[RenderableType]:
    active = sorted(state.stages.active.values(), key=lambda stage: stage.lane)
    width = max((len(stage.method) for stage in active), default=0)
    if not active and state.judged < state.start.trials:
        doing = "starting workers" if not state.stages.trained else "choosing settings"
        yield Text(f"  {doing}", style="dim")
    for stage in active:
        yield stage_view(stage, width, now)


def trial_line(event: TrialEvent, before: SweepProgress, after: SweepProgress) -> str | None:
    """What is worth a line of a log."""
    if isinstance(event, TrialStarted):
        return f"{event.label}: {params_text(event.params)}"
    if not isinstance(event, TrialEnded):
        return None
    trial = before.running.get(event.label)
    if event.state is TrialEnd.FAILED:
        return f"{event.label}: failed: {event.message}"
    if event.state is TrialEnd.INTERRUPTED:
        return f"{event.label}: interrupted; it comes again when the sweep goes on"
    done = trial.orders_done if trial else 0
    score = "".join(f": {_value(value, after.start.objective)}" for value in event.values[:1])
    where = f" after {done} of {after.start.orders} orders" if done < after.start.orders else ""
    best = after.best is not None and after.best.label == event.label
    return (
        f"{event.label}: {event.state.value}{where}{score}{', the best so far' if best else ''} "
        f"({after.judged} of {after.start.trials})"
    )


def _opening(start: SweepStart) -> str:
    before = sum(n for end, n in start.ended.items() if end is not TrialEnd.INTERRUPTED)
    known = f", {before} judged before" if before else ""
    orders = counted(start.orders, "order")
    return f"{start.name}: {counted(start.trials, 'trial')} of {orders}{known}"


def _value(value: float, objective: Objective) -> str:
    return f"{_TITLES[objective]} {value:+.1f} %"
