"""A whole run: what its drivers said, and the MLflow run of a sweep or comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from orchestrator.tracking.drawings import Spread
from orchestrator.tracking.events import (
    DatasetRef,
    Direction,
    End,
    Event,
    RunFiles,
    RunFinished,
    RunKind,
    RunStarted,
)
from orchestrator.tracking.notes import compare_note, sweep_note
from orchestrator.tracking.records import (
    FileRef,
    Point,
    RunRecord,
    Status,
    dataset_id,
    ms,
    text,
)

if TYPE_CHECKING:
    from orchestrator.tracking.sequence_view import SequenceSummary
    from orchestrator.tracking.standing import Standing

Summaries = Callable[[str | None], "Sequence[SequenceSummary]"]
"""Label of a trial, or None for all of the run -> what is kept of the sequences, as they began."""

_LONGEST_TAG = 4000

STATUS: dict[End, Status] = {
    End.FINISHED: "FINISHED",
    End.FAILED: "FAILED",
    End.KILLED: "KILLED",
}


@dataclass(frozen=True)
class RunFacts:
    """What holds for the whole run.

    Attributes:
        starts: every start of a driver, in order.
        closed: the end of the last driver, None while one works.
        breaks: times at which a driver ended, or was seen to be gone by the next one's start.
        files: artifact path -> where the store has it, as last announced.
    """

    journal: str
    run: str
    starts: tuple[RunStarted, ...]
    closed: RunFinished | None
    breaks: tuple[float, ...] = ()
    files: tuple[FileRef, ...] = ()

    @classmethod
    def of(cls, journal: str, run: str, events: Sequence[Event]) -> RunFacts:
        starts = tuple(e for e in events if isinstance(e, RunStarted))
        drivers = [e for e in events if isinstance(e, (RunStarted, RunFinished))]
        last = drivers[-1] if drivers else None
        files = {
            path: FileRef(path, where, ms(event.time))
            for event in events
            if isinstance(event, RunFiles)
            for path, where in event.files.items()
        }
        closed = last if isinstance(last, RunFinished) else None
        breaks = tuple(e.time for e in drivers if e is not starts[0]) if starts else ()
        return cls(journal, run, starts, closed, breaks, tuple(sorted(files.values())))

    @property
    def kind(self) -> RunKind:
        return self.starts[0].kind if self.starts else RunKind.RUN

    @property
    def root(self) -> str | None:
        """uid of the run above all others, None for a plain run, which has none."""
        return None if self.kind is RunKind.RUN else self.journal

    @property
    def objectives(self) -> Mapping[str, Direction]:
        return self.starts[-1].objectives if self.starts else {}

    @property
    def commands(self) -> Mapping[str, str]:
        return self.starts[-1].commands if self.starts else {}

    def at(self, time: float) -> RunStarted | None:
        """The driver that worked at ``time``, so that a later one rewrites no history."""
        before = [start for start in self.starts if start.time <= time]
        return before[-1] if before else next(iter(self.starts), None)

    def dataset_at(self, time: float) -> DatasetRef | None:
        """The data in use at ``time``; a sweep never looks at the test split."""
        start = self.at(time)
        if start is None or start.dataset is None or self.kind is not RunKind.SWEEP:
            return start.dataset if start else None
        splits = {k: v for k, v in start.dataset.fingerprints.items() if k != "test"}
        return replace(start.dataset, fingerprints=splits)

    def scored_on(self, time: float, split: str) -> tuple[str, str] | None:
        """Name and digest of the data behind a score, as they are logged with the run; ``val`` is
        a part of the training split."""
        dataset, split = self.dataset_at(time), "train" if split == "val" else split
        if dataset is None or split not in dataset.fingerprints:
            return None
        return dataset_id(dataset, split)

    def tags_at(self, time: float) -> dict[str, str]:
        start = self.at(time)
        tags = {"had.run_name": self.run, "had.journal": self.journal}
        if start is not None:
            known = {
                "mlflow.user": start.user,
                "mlflow.source.git.commit": start.commit,
                # MLflow shows what is behind the last slash, so no more than ``had sweep``.
                "mlflow.source.name": " ".join(start.command.split()[:2]),
                "had.command": start.command[:_LONGEST_TAG],
            }
            tags.update({name: value for name, value in known.items() if value})
        return tags


def root_record(facts: RunFacts, standing: Standing, sequences: Summaries) -> RunRecord:
    """The MLflow run of a sweep or comparison."""
    assert facts.root is not None
    first, closed = facts.starts[0], facts.closed
    tags = {**facts.tags_at(first.time), "had.kind": facts.kind.value}
    if closed is not None and closed.message:
        tags["had.message"] = closed.message
    if facts.kind is RunKind.SWEEP:
        tags["mlflow.note.content"] = sweep_note(facts, standing, sequences)
        if standing.best:
            tags["had.best_trial"] = text(",".join(trial.label for trial in standing.best))
        points = tuple(standing.points)
    else:
        tags["mlflow.note.content"] = compare_note(facts, sequences(None))
        points = _mean_points(sequences(None))
    return RunRecord(
        uid=facts.root,
        name=facts.run,
        parent=None,
        start_ms=ms(first.time),
        status="RUNNING" if closed is None else STATUS[closed.end],
        end_ms=None if closed is None else ms(closed.time),
        tags=tags,
        params={
            **_params(first.config),
            **{f"objective.{name}": way.value for name, way in facts.objectives.items()},
        },
        points=points,
        texts={"config.json": json.dumps(first.config, indent=2)} if first.config else {},
        dataset=facts.dataset_at(first.time),
        files=facts.files,
        drawings=_spread(facts, standing, sequences) if closed is not None else (),
    )


def _params(config: Mapping[str, Any]) -> dict[str, str]:
    """What tells sweeps and comparisons apart at a glance; all of it is in ``config.json``."""

    def at(*path: str) -> Any:
        value: Any = config
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    compared, orders, seeds, space = (
        at("compared"),
        at("orders"),
        at("seeds"),
        at("search", "space"),
    )
    found = {
        "dataset": at("dataset", "name"),
        "net": at("net", "encoder"),
        "epochs": at("train", "epochs"),
        "method": None if compared else at("method", "name"),
        "methods": ",".join(compared) if isinstance(compared, Mapping) and compared else None,
        "orders": len(orders) if isinstance(orders, list) else None,
        "seeds": len(seeds) if isinstance(seeds, list) else None,
        "sampler": at("search", "sampler"),
        "searched": ",".join(space) if isinstance(space, Mapping) else None,
    }
    return {k: text(v) for k, v in found.items() if isinstance(v, (str, int, float))}


def _mean_points(sequences: Sequence[SequenceSummary]) -> tuple[Point, ...]:
    """A comparison's means over orders and seeds, once all sequences of a method have them."""
    points = []
    for method in dict.fromkeys(s.method for s in sequences):
        mine = [s for s in sequences if s.method == method]
        at = ms(max(s.time for s in mine))
        for name in dict.fromkeys(name for s in mine for name in s.summary):
            values = [s.summary.get(name) for s in mine]
            known = [value for value in values if value is not None]
            if len(known) == len(mine):
                points.append(Point(f"{name}/{method}", 0, at, fmean(known)))
    return tuple(points)


def _spread(facts: RunFacts, standing: Standing, sequences: Summaries) -> tuple[Spread, ...]:
    """Delta_m of every order and seed: of a comparison's methods, or of a sweep's best trials."""
    lines: list[tuple[str, tuple[float, ...]]] = []
    if facts.kind is RunKind.SWEEP:
        for _, trial in standing.ranked:
            # The reference is 0 against itself in every order.
            found = [values for _, values in _gains(sequences(trial.label)) if any(values)]
            lines += [(trial.title, values) for values in found[:1]]
    else:
        lines = _gains(sequences(None))
    if not any(len(values) > 1 for _, values in lines):
        return ()
    title = f"{facts.run}: one dot for every order and seed"
    return (Spread(tuple(lines), "Δm against the reference, %", title),)


def _gains(sequences: Sequence[SequenceSummary]) -> list[tuple[str, tuple[float, ...]]]:
    """Every method with its Delta_m, by order and seed, where it has any."""
    found: dict[str, list[float]] = {}
    for each in sorted(sequences, key=lambda s: (s.order, s.seed)):
        value = each.summary.get("delta_m_pct")
        if value is not None:
            found.setdefault(each.method, []).append(value)
    first = dict.fromkeys(s.method for s in sequences)
    return [(method, tuple(found[method])) for method in first if method in found]
