"""Shows a run while it runs: live on a terminal, line by line elsewhere, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.display.numbers import duration
from orchestrator.display.progress import ActiveStage, RunProgress, finished_epochs
from orchestrator.execution.messages import (
    Event,
    LaneFault,
    Outcome,
    StageLeased,
    StageProgress,
    Status,
)

Clock = Callable[[], float]


class Display(Protocol):
    """What a run reports to. Methods may be called from any thread and return at once."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def begin(self, name: str, *, to_train: int, cached: int) -> None:
        """The plan is known: so many different stages to train, so many sealed already."""
        ...

    def event(self, event: Event) -> None: ...

    def note(self, text: str) -> None:
        """One line that matters: building a data set, starting Ray, MLflow unreachable."""
        ...


class SilentDisplay:
    """Shows nothing but notes, on stderr: for ``--json``."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def begin(self, name: str, *, to_train: int, cached: int) -> None:
        return None

    def event(self, event: Event) -> None:
        return None

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class LineDisplay(SilentDisplay):
    """One line a stage and an epoch: for logs and pipes."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._lock = threading.Lock()
        self._state = RunProgress("", 0, 0, clock())

    def begin(self, name: str, *, to_train: int, cached: int) -> None:
        with self._lock:
            self._state = RunProgress(name, to_train, cached, self._clock())
        stages = "stage" if to_train == 1 else "stages"
        self.note(f"{name}: {to_train} {stages} to train, {cached} cached")

    def event(self, event: Event) -> None:
        now = self._clock()
        with self._lock:
            before, self._state = self._state, self._state.after(event, now)
            line = event_line(event, before, self._state, now)
        if line:
            self.note(line)


class LiveDisplay(LineDisplay):
    """Redraws in place: every running stage with epoch, pace, loss terms and time left."""

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

    def begin(self, name: str, *, to_train: int, cached: int) -> None:
        with self._lock:
            self._state = RunProgress(name, to_train, cached, self._clock())

    def event(self, event: Event) -> None:
        now = self._clock()
        with self._lock:
            before, self._state = self._state, self._state.after(event, now)
        if isinstance(event, (Outcome, LaneFault)):
            line = event_line(event, before, self._state, now)
            if line:
                self.note(line)

    def _render(self) -> RenderableType:
        with self._lock:
            state = self._state
        return live_view(state, self._clock())


def make_display(console: Console, *, silent: bool, clock: Clock = time.monotonic) -> Display:
    """The display that fits where the output goes."""
    if silent:
        return SilentDisplay(console)
    return LiveDisplay(console, clock) if console.is_terminal else LineDisplay(console, clock)


def live_view(state: RunProgress, now: float) -> RenderableType:
    """The whole live area."""
    if not state.name:
        return Text()
    ended = state.trained + state.failed
    left = state.seconds_left(now) if ended < state.to_train else None
    head = Text.assemble(
        (state.name, "bold"),
        f"  {ended} of {state.to_train} stages trained",
        f", {state.cached} cached" if state.cached else "",
        (f", {state.failed} failed" if state.failed else "", "bold red"),
        f"  {duration(now - state.began)}",
        left_text(left),
        "" if state.active or not state.to_train else f"  {_between(state)}",
    )
    stages = sorted(state.active.values(), key=lambda stage: stage.lane)
    width = max((len(stage.method) for stage in stages), default=0)
    return Group(head, *(stage_view(stage, width, now) for stage in stages))


def _between(state: RunProgress) -> str:
    """What a run does while no lane holds a stage."""
    ended = state.trained + state.failed
    return "finishing" if ended >= state.to_train else "starting workers"


def stage_view(stage: ActiveStage, width: int, now: float) -> RenderableType:
    last = stage.last
    grid = Table.grid(padding=(0, 2))
    order = Text(" → ").join(
        Text(task, style="bold cyan" if task in stage.tasks else "dim") for task in stage.order
    )
    bar = ProgressBar(total=1.0, completed=stage.fraction, width=20)
    if last is None or last.epoch == 0:
        grid.add_row(Text(f"  {stage.method:<{width}}"), order, bar, Text("starting", style="dim"))
        return grid
    pace = f"{last.images_per_s:.1f} images/s" if last.images_per_s else ""
    grid.add_row(
        Text(f"  {stage.method:<{width}}"),
        order,
        bar,
        f"epoch {last.epoch}/{last.epochs}",
        pace,
        left_text(stage.seconds_left(now)).strip(),
    )
    if not last.terms:
        return grid
    return Group(grid, Text(f"    {_terms(last)}", style="dim", overflow="ellipsis", no_wrap=True))


def event_line(event: Event, before: RunProgress, after: RunProgress, now: float) -> str | None:
    """What is worth a line of a log."""
    match event:
        case StageLeased():
            work = event.work
            again = f", attempt {event.lease.attempt}" if event.lease.attempt > 1 else ""
            return f"{_place(work.method, work.order, work.tasks)}: starts{again}"
        case StageProgress():
            old = before.active.get(event.key)
            told = old.last.terms if old and old.last else {}
            if old is None or not event.terms or event.terms == told:
                return None  # terms change when an epoch ends, and at no other time
            left = after.active[event.key].seconds_left(now)
            return (
                f"{_place(event.method, event.order, event.tasks)}: "
                f"epoch {finished_epochs(event)}/{event.epochs}  {_terms(event)}  "
                f"{event.images_per_s:.1f} images/s{left_text(left)}"
            )
        case Outcome():
            return _ended(event, before, after)
        case LaneFault():
            held = f" while it held {event.key[:12]}" if event.key else ""
            return f"lane {event.lane} starts again{held}: {event.message}"


def _ended(outcome: Outcome, before: RunProgress, after: RunProgress) -> str | None:
    stage = before.active.get(outcome.key)
    place = _place(stage.method, stage.order, stage.tasks) if stage else outcome.key[:12]
    if outcome.status is Status.SEALED and outcome.trained:
        ended = after.trained + after.failed
        count = f" ({ended} of {after.to_train})" if after.to_train else ""  # a sweep has no end
        return f"{place}: trained in {duration(outcome.seconds)}{count}"
    if outcome.status is Status.FAILED and outcome.failure is not None:
        return f"{place}: failed: {outcome.failure.message}"
    if outcome.status is Status.CANCELLED:
        return f"{place}: cancelled"
    return None


def _place(method: str, order: tuple[str, ...], tasks: tuple[str, ...]) -> str:
    """``had depth after semantic``."""
    first = order.index(tasks[0]) if tasks and tasks[0] in order else 0
    old = order[:first] if len(tasks) == 1 else ()
    after = f" after {', '.join(old)}" if old else ""
    return f"{method} {', '.join(tasks)}{after}"


def _terms(progress: StageProgress) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in progress.terms.items())


def left_text(seconds: float | None) -> str:
    return "" if seconds is None else f"  about {duration(seconds)} left"
