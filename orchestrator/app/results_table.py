"""Every number of a sweep or comparison as one table, ``results.parquet`` in its store folder.

::

    run trial trial_state method label order seed position stage_key split task metric value params
    params.<path> ...                                  one column for each parameter of the sweep

One row for every trial x method x order x seed x stage x task x metric. The numbers of a whole
sequence (``delta_m_pct``, ``forgetting``, ``bwt``, ``mean_rank`` ...) are rows of its last position
without a task and a stage key. ``value`` is null where a metric is not defined. Rows are sorted, so
equal results make equal bytes whatever finished first.

    pandas.read_parquet("results.parquet").query("metric == 'delta_m_pct'")
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.config import RunConfig
    from orchestrator.display.results import SequenceResult
    from orchestrator.store import Store

Params = Mapping[str, str | bool | int | float]
FILE = "results.parquet"
_SUMMARY = ("delta_m_pct", "delta_m_plain_pct", "forgetting", "bwt", "plasticity", "mean_rank")
_PREFIX = "params."


@dataclass(frozen=True)
class TrialRows:
    """The sequences of one setting: a trial's, or all of a comparison.

    Attributes:
        trial: label of the trial; empty in a comparison, and so is ``state``.
        params: dotted path -> value.
    """

    sequences: Sequence[SequenceResult]
    trial: str = ""
    state: str = ""
    params: Params = field(default_factory=dict)


def results_table(
    run: str, trials: Iterable[TrialRows], methods: Mapping[str, str], split: str
) -> pa.Table:
    """The table of a run.

    Args:
        methods: label of a method -> its name.
        split: what the rows of R were scored on.
    """
    import pyarrow as pa

    trials = sorted(trials, key=lambda each: each.trial)
    rows = [
        (run, each.trial, each.state, methods[s.method], *row[:4], split, *row[4:], number)
        for number, each in enumerate(trials)
        for s in each.sequences
        for row in _rows(s)
    ]
    rows.sort(key=_place)
    *columns, numbers = zip(*rows, strict=True) if rows else [()] * (len(_FIELDS) + 1)
    texts = [json.dumps(dict(each.params), sort_keys=True) for each in trials]
    table = pa.table(
        {
            name: pa.array(values, pa.type_for_alias(kind))
            for (name, kind), values in zip(_FIELDS.items(), columns, strict=True)
        }
    )
    table = table.append_column("params", pa.array([texts[n] for n in numbers], pa.string()))
    for path in sorted({path for each in trials for path in each.params}):
        values = [each.params.get(path) for each in trials]
        column = pa.array(_alike(values)).take(pa.array(numbers, pa.int64()))
        table = table.append_column(f"{_PREFIX}{path}", column)
    return table


def write_results(store: Store, folder: str, table: pa.Table) -> str:
    """Write the table into a folder of the store, whole and in place of an earlier one.

    Returns:
        Its path in the store.
    """
    path = f"{folder}/{FILE}"
    store.fs.write(path, to_bytes(table))
    return path


def write_comparison(config: RunConfig, store: Store, sequences: Sequence[SequenceResult]) -> str:
    """The table of a comparison, in its folder of the store.

    Returns:
        Its path in the store.
    """
    methods = {label: method.name for label, method in config.methods}
    table = results_table(config.name, [TrialRows(sequences)], methods, "test")
    return write_results(store, comparison_folder(config.name), table)


def comparison_folder(name: str) -> str:
    """Where the files of a comparison lie in the store."""
    return f"comparisons/{name}"


def to_bytes(table: pa.Table) -> bytes:
    """A Parquet file; equal tables give equal bytes under one version of pyarrow."""
    import pyarrow.parquet as pq

    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


# Parameters follow; null are task and stage_key of a sequence's own numbers, and undefined values.
_FIELDS = {
    "run": "string",
    "trial": "string",
    "trial_state": "string",
    "method": "string",
    "label": "string",
    "order": "string",
    "seed": "int64",
    "position": "int64",
    "split": "string",
    "stage_key": "string",
    "task": "string",
    "metric": "string",
    "value": "float64",
}


def _rows(result: SequenceResult) -> Iterator[tuple[Any, ...]]:
    """label, order, seed, position; stage_key, task, metric, value."""
    about = (result.method, ">".join(result.order), result.seed)
    keys = {stage.position: stage.key for stage in result.stages}
    for position, row in enumerate(result.r_matrix, start=1):
        for task, metrics in row.items():
            for metric, value in metrics.items():
                yield (*about, position, keys.get(position), task, metric, value)
    for name in _SUMMARY:
        yield (*about, len(result.order), None, None, name, getattr(result, name))


def _place(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort key: everything that names a number, nothing that came out."""
    named = dict(zip(_FIELDS, row, strict=False))
    names = ("trial", "label", "order", "seed", "position", "task", "metric")
    return tuple("" if named[name] is None else named[name] for name in names)


def _alike(values: Sequence[Any]) -> list[Any]:
    """Values of one type: numbers become floats together, a mixture becomes text."""
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) <= 1:
        return list(values)
    make = float if kinds == {int, float} else str
    return [None if value is None else make(value) for value in values]
