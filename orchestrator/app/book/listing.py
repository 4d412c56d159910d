"""``had runs``: the runs, comparisons and sweeps of a store, and the sequences of one."""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from had_core.errors import BadInput
from orchestrator.app.naming import unknown_run
from orchestrator.app.opening import open_existing
from orchestrator.display.run_lists import RunLine, RunPage, RunsResult, SequenceLine, TrialLine
from orchestrator.store import RunRecord
from orchestrator.tracking.events import (
    Event,
    SequenceFinished,
    SequenceStarted,
    StageFinished,
    StageReused,
    TrialFinished,
    TrialStarted,
)
from orchestrator.tracking.journal import JournalReader, journal_names
from orchestrator.tracking.tally import Tally, tally

KINDS = ("run", "compare", "sweep")
STATES = ("running", "finished", "failed", "killed", "new")


def runs(
    root: str, *, like: str | None = None, kind: str | None = None, state: str | None = None
) -> RunsResult:
    """Every run, oldest first, that matches what is given.

    Args:
        like: pattern of its name with ``*`` and ``?``.

    Raises:
        BadInput: no store there, or a kind or state that there is not.
    """
    _check("--kind", kind, KINDS)
    _check("--state", state, STATES)
    store = open_existing(root)
    journals, dropped = set(journal_names(store.uri)), store.runs.dropped()
    lines = []
    for name in sorted(journals | store.runs.names() | dropped):
        if like is not None and not fnmatch.fnmatchcase(name, like):
            continue
        record = store.runs.known(name)
        if kind and record is not None and _kind(record.config) != kind:
            continue  # before its journal is read
        line = _line(name, record, tally(store.uri, name) if name in journals else Tally())
        line = replace(line, kept=name not in dropped)
        if kind in (None, line.kind) and state in (None, line.state):
            lines.append(line)
    return RunsResult(store.uri, tuple(sorted(lines, key=lambda line: (line.created, line.name))))


def _check(option: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise BadInput(f"{option} {value} is not allowed: one of {', '.join(allowed)}")


def _line(name: str, record: RunRecord | None, counts: Tally) -> RunLine:
    return RunLine(
        name=name,
        kind=_kind(record.config) if record else counts.kind or "run",
        recipe=str(record.config.get("recipe", "")) if record else "",
        created=record.created_at if record else _date(counts.started),
        state=counts.state,
        sequences=len(counts.sequences),
        trials=len(counts.trials),
        stages_trained=len(counts.trained),
        stages_reused=len(counts.reused),
    )


def _kind(config: Mapping[str, Any]) -> str:
    if config.get("search"):
        return "sweep"
    return "compare" if config.get("compared") else "run"


def _date(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


# One run ----------------------------------------------------------------------------------------


def one_run(name: str, root: str) -> RunPage:
    """The sequences of a run with the headline metrics of their last rows, and its trials.

    Raises BadInput where the store has no run of this name: then it names near ones.
    """
    store = open_existing(root)
    journals = journal_names(store.uri)
    if name not in {*journals, *store.runs.names(), *store.runs.dropped()}:
        raise BadInput(unknown_run(name, store))
    record = store.runs.known(name)
    begun = name in journals
    line = _line(name, record, tally(store.uri, name) if begun else Tally())
    line = replace(line, kept=name not in store.runs.dropped())
    events = JournalReader.open(store.uri, name).events() if begun else []
    running = line.state == "running"
    return RunPage(store.uri, line, tuple(_sequences(events, running)), tuple(_trials(events)))


def _sequences(events: Iterable[Event], running: bool) -> list[SequenceLine]:
    started: dict[str, SequenceStarted] = {}
    ended: dict[str, SequenceFinished] = {}
    stages: dict[str, dict[int, StageFinished | StageReused]] = {}
    for event in events:
        if isinstance(event, SequenceStarted):
            started[event.sequence] = event
            ended.pop(event.sequence, None)
        elif isinstance(event, SequenceFinished):
            ended[event.sequence] = event
        elif isinstance(event, (StageFinished, StageReused)):
            own = stages.setdefault(event.stage.sequence, {})
            known = own.get(event.stage.position)
            if not isinstance(known, StageFinished):  # a resumed run finds what it trained itself
                own[event.stage.position] = event
    return [
        _sequence(start, ended.get(name), stages.get(name, {}), running)
        for name, start in started.items()
    ]


def _sequence(
    start: SequenceStarted,
    end: SequenceFinished | None,
    stages: Mapping[int, StageFinished | StageReused],
    running: bool,
) -> SequenceLine:
    rows = stages[max(stages)].rows if stages else {}
    split = next((name for name in ("test", "val") if name in rows), None)
    headline = {
        task: dict(list(metrics.items())[:1])  # the headline metric is the first
        for task, metrics in (rows[split] if split else {}).items()
    }
    still = "running" if running else "killed"
    return SequenceLine(
        sequence=start.sequence,
        method=start.method,
        order=start.order,
        seed=start.seed,
        trial=start.trial or None,
        state=end.end.value if end else still,
        stages=tuple(stages[position].stage.key for position in sorted(stages)),
        split=split,
        headline=headline,
        delta_m_pct=end.summary.get("delta_m_pct") if end else None,
        forgetting=end.summary.get("forgetting") if end else None,
    )


def _trials(events: Iterable[Event]) -> list[TrialLine]:
    found: dict[str, TrialLine] = {}
    for event in events:
        if isinstance(event, TrialStarted):
            found[event.trial] = TrialLine(event.trial, "waiting", dict(event.params), {})
        elif isinstance(event, TrialFinished) and event.trial in found:
            params = found[event.trial].params
            state = event.state.value
            found[event.trial] = TrialLine(event.trial, state, params, dict(event.values))
    return [found[label] for label in sorted(found)]
