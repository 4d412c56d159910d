"""``had report``: the values of a run, comparison or sweep, gathered from the store.

Trains, scores and writes nothing. What is missing or failed is told, not hidden.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from had_core.errors import BadInput
from orchestrator.app.book.report_cost import cost_of, manifests_of
from orchestrator.app.book.report_data import KnownData, known_data
from orchestrator.app.book.report_gallery import gallery_of
from orchestrator.app.book.report_made import made_of
from orchestrator.app.book.report_sweep import Searched, searched
from orchestrator.app.naming import unknown_run
from orchestrator.app.opening import open_existing
from orchestrator.app.planning import sequences_of
from orchestrator.app.scores import Reference, known_constant, sequence_results
from orchestrator.config import RunConfig, StoreConfig
from orchestrator.display.comparison import CompareResult, best, delta_spreads
from orchestrator.display.results import RunResult, SequenceResult, metrics_of
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import SequenceSpec
from orchestrator.report.model import Cost, Report
from orchestrator.search.settings import Params
from orchestrator.store import RunRecord, Store
from orchestrator.tracking.events import Event, StageFailed
from orchestrator.tracking.journal import JournalReader, journal_names
from orchestrator.tracking.tally import Tally, tally

_MOST_FAILURES = 20
_SHOWN = 3  # methods in the gallery


@dataclass(frozen=True)
class _Run:
    """What a name stands for, and what is known of it."""

    store: Store
    config: RunConfig
    data: KnownData
    events: tuple[Event, ...]
    counts: Tally


def report(name: str, root: str) -> Report:
    """Everything there is to show of a run, comparison or sweep, finished or not.

    Raises BadInput where the store has no run of this name, or none that began.
    """
    run = _open(name, root)
    constant = known_constant(
        run.data.fingerprints, run.store, run.config.slicing if run.config.search else None
    )
    label = run.config.reference_label
    reference = Reference(label, constant) if label and constant else None
    missing = [_NO_CONSTANT.format(name=name)] if label and not constant else []
    if run.config.search is not None:
        return _of_sweep(run, searched(run.config, run.store, run.data, reference), missing)
    sequences = sequences_of(run.config, run.data.fingerprints)
    tasks = {task.name: task for task in run.data.tasks}
    results = sequence_results(sequences, tasks, run.store, frozenset(), reference)
    compared = _compared(run, results, reference.method if reference else None)
    return _report(run, "test", sequences, sequences, compared, missing)


_NO_CONSTANT = (
    "Δm is left out: the scores of the constant prediction are not in the store; "
    "had resume {name} puts them there"
)


def _record_of(name: str, store: Store) -> RunRecord:
    """What the store keeps of a run, comparison or sweep.

    Raises BadInput where it has none of this name, or a rerun.
    """
    record = store.runs.known(name)
    if record is None:
        raise BadInput(unknown_run(name, store))
    if record.keeps:
        raise BadInput(
            f"'{name}' is of had rerun, whose stages belong to several sequences: had runs {name} "
            "lists them, had show and had explain tell of each"
        )
    return record


def _open(name: str, root: str) -> _Run:
    store = open_existing(root)
    record, journals = _record_of(name, store), journal_names(store.uri)
    config = RunConfig.from_json(record.config).at(StoreConfig(store.uri))
    begun = name in journals
    events = tuple(JournalReader.open(store.uri, name).events()) if begun else ()
    data = known_data(config, events)
    if data is None:
        raise BadInput(
            f"run '{name}' has nothing to report: it has not begun, and its data set "
            f"{config.dataset.path} is not there; had resume {name} begins it"
        )
    return _Run(store, config, data, events, tally(store.uri, name) if begun else Tally())


def _of_sweep(run: _Run, found: Searched, missing: list[str]) -> Report:
    compared = _compared(run, found.results, found.reference)
    report = _report(
        run, "val", found.sequences, found.shown, compared, [*missing, *found.troubles], found.best
    )
    if found.part is None:
        return report
    cost = report.cost
    result = replace(
        found.part.result,
        stages_trained=cost.trained,
        stages_reused=cost.reused,
    )
    return replace(report, sweep=replace(found.part, result=result))


def _compared(run: _Run, results: Sequence[SequenceResult], reference: str | None) -> CompareResult:
    return CompareResult(
        RunResult(
            name=run.config.name,
            recipe=run.config.recipe,
            metrics=metrics_of(run.data.tasks),
            sequences=tuple(results),
            store=run.store.uri,
            reference=reference,
        )
    )


def _report(
    run: _Run,
    split: str,
    wanted: Sequence[SequenceSpec],
    shown: Sequence[SequenceSpec],
    compared: CompareResult,
    missing: Iterable[str],
    best_setting: Params | None = None,
) -> Report:
    """
    Args:
        wanted: all that the run is about; shown: of the methods in ``compared``.
        best_setting: of a sweep.
    """
    manifests = manifests_of(wanted, run.store)
    cost = cost_of(run.config.name, wanted, manifests, run.store)
    last = next((s.stages[-1].key for s in reversed(shown) if s.stages[-1].key in manifests), None)
    return Report(
        name=run.config.name,
        kind=_kind(run.config),
        recipe=run.config.recipe,
        state=run.counts.state,
        split=split,
        begun=_date(run.counts.started),
        ended=_date(run.counts.ended),
        result=compared,
        cost=cost,
        made=made_of(
            run.config, run.data, run.events, manifests, best=best_setting or {}, stage=last
        ),
        gallery=gallery_of(shown, _to_show(compared), run.store, run.data, split),
        troubles=(*_troubles(run, compared, cost), *missing),
    )


def _kind(config: RunConfig) -> str:
    if config.search is not None:
        return "sweep"
    return "compare" if config.compared else "run"


def _date(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _to_show(compared: CompareResult) -> list[str]:
    """The reference, the best method, and others as far as there is room."""
    from had_core.tasks import Direction

    names = [summary.method for summary in compared.methods if summary.lifelong]
    leader = best(delta_spreads(compared), compared.methods, Direction.UP)
    if leader is not None:
        names = [name for name in names if name != leader]
        names.insert(1, leader)
    return names[:_SHOWN]


# What is missing --------------------------------------------------------------------------------


def _troubles(run: _Run, compared: CompareResult, cost: Cost) -> Iterator[str]:
    name = run.config.name
    if run.counts.state == "running":
        yield f"It is still running: the numbers are of what is sealed so far ({_sealed(cost)})."
    elif run.counts.state in ("killed", "new"):
        yield f"It was interrupted ({_sealed(cost)}): had resume {name} goes on."
    elif cost.missing:
        yield f"Stages are missing ({_sealed(cost)}): had resume {name} trains them."
    sequences = compared.run.sequences
    whole = sum(sequence.is_complete for sequence in sequences)
    if whole < len(sequences):
        yield f"{whole} of {len(sequences)} sequences shown here are complete."
    failures = list(_failures(run))
    yield from failures[:_MOST_FAILURES]
    if len(failures) > _MOST_FAILURES:
        yield f"{len(failures) - _MOST_FAILURES} more stages failed: see had runs {name}."


def _sealed(cost: Cost) -> str:
    return f"{cost.unique - cost.missing} of {cost.unique} stages are sealed"


def _failures(run: _Run) -> Iterator[str]:
    """Stages that failed for good and were not trained since."""
    last = {e.stage.key: e for e in run.events if isinstance(e, StageFailed) and e.final}
    for key, event in last.items():
        if not run.store.is_sealed(ArtifactKind.FIT, key):
            learned = ", ".join(event.stage.tasks)
            where = event.stage.sequence.replace(">", " → ")
            yield f"Stage {key[:12]} ({learned}, of {where}) failed: {event.message}"
