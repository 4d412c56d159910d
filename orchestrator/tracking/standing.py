"""How a sweep stands: the best trials so far and the curves over all of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.tracking.events import Direction, TrialState
from orchestrator.tracking.records import Point, ms
from orchestrator.tracking.trial_view import TrialView

Objectives = Mapping[str, Direction]
_FEW = 12


@dataclass
class Standing:
    """What a number of trials, by their numbers, come to.

    Attributes:
        points: every trial's values over its number and, with one objective, the best up to it. A
            best value appears once all trials before it are over, so that no point changes later.
        counts: trials by what became of them; ``running`` or ``interrupted`` where nothing did.
        front: the complete trials that no other one reaches, each after its score (more is
            better); of equal ones the first. With one objective that is the best trial, with
            several the Pareto front.
        ranked: the best few complete trials by their first objective, each after its score.
    """

    objectives: Objectives
    points: list[Point] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    front: list[tuple[tuple[float, ...], TrialView]] = field(default_factory=list)
    ranked: list[tuple[tuple[float, ...], TrialView]] = field(default_factory=list)
    latest: float = 0.0

    @property
    def best(self) -> tuple[TrialView, ...]:
        return tuple(trial for _, trial in self.front)

    def copy(self) -> Standing:
        points, counts, front = self.points.copy(), self.counts.copy(), self.front.copy()
        return Standing(self.objectives, points, counts, front, self.ranked, self.latest)

    def add(self, trial: TrialView, *, all_over: bool) -> None:
        """One more trial; ``all_over`` if it and all before it are over."""
        open_word = "running" if trial.interrupted is None else "interrupted"
        self.counts[trial.state.value if trial.state else open_word] += 1
        self.points += trial.values_by_number
        score = _score(self.objectives, trial)
        if score is not None:
            ranked = [*self.ranked, (score, trial)]
            self.ranked = sorted(ranked, key=lambda pair: (-pair[0][0], pair[1].rank))[:_FEW]
        if score is not None and not any(_reaches(other, score) for other, _ in self.front):
            self.front = [(s, t) for s, t in self.front if not _reaches(score, s)]
            self.front.append((score, trial))
        if all_over and trial.over is not None:
            self.latest = max(self.latest, trial.over)
            if len(self.objectives) == 1 and self.front:
                (name,) = self.objectives
                value = self.front[0][1].values[name]
                assert value is not None
                self.points.append(Point(f"best/{name}", trial.number, ms(self.latest), value))


class Standings:
    """Keeps up with a sweep, so that a look costs what is new and not what has been."""

    def __init__(self) -> None:
        self._ranks: list[tuple[int, str]] = []
        self._trials: dict[str, TrialView] = {}
        self._sum = Standing({})  # of the first ``_done`` trials, which are all over
        self._done = 0

    def put(self, trial: TrialView) -> None:
        """A trial is new, or known better."""
        known = self._trials.get(trial.label)
        if known == trial:
            return
        if known is not None and known.rank != trial.rank:
            self._ranks.remove(known.rank)
            known, self._done = None, 0
        if known is None:
            insort(self._ranks, trial.rank)
        if bisect_left(self._ranks, trial.rank) < self._done:
            self._done = 0
        self._trials[trial.label] = trial

    def look(self, objectives: Objectives) -> Standing:
        """How the sweep stands now."""
        if not self._done or self._sum.objectives != objectives:
            self._sum, self._done = Standing(objectives), 0
        rest = iter(self._ranks[self._done :])
        now = None
        for _, label in rest:
            trial = self._trials[label]
            if trial.over is None:
                now = self._sum.copy()
                now.add(trial, all_over=False)
                break
            self._sum.add(trial, all_over=True)
            self._done += 1
        now = now or self._sum.copy()
        for _, label in rest:
            now.add(self._trials[label], all_over=False)
        return now


def _reaches(mine: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether ``mine`` is at least as good in everything."""
    return all(a >= b for a, b in zip(mine, other, strict=True))


def _score(objectives: Objectives, trial: TrialView) -> tuple[float, ...] | None:
    """The values of a complete trial, turned so that more is better."""
    if not objectives or trial.state is not TrialState.COMPLETE:
        return None
    signs = {Direction.MAXIMIZE: 1.0, Direction.MINIMIZE: -1.0}
    values = [(trial.values.get(name), signs[way]) for name, way in objectives.items()]
    known = tuple(value * sign for value, sign in values if value is not None)
    return known if len(known) == len(values) else None
