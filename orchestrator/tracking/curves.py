"""Names of the numbers of an epoch, the same on the stage's own run and on its sequences' runs.

::

    train/new/depth     a loss term, weighted as in the sum (``db/`` and ``sg/`` of every old task)
    train/total         their sum
    val/depth/abs_err   a metric on the validation part, where ``train.eval_every`` asked for it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.tracking.events import Curves, Numbers, Rows

_DIGITS = 6


def of_epoch(terms: Numbers, scores: Mapping[str, Numbers]) -> dict[str, float]:
    """What is defined of an epoch's numbers, by the name it is shown under."""
    values = {f"train/{name}": value for name, value in terms.items() if value is not None}
    if values:
        values["train/total"] = sum(values.values())
    return values | of_rows({"val": scores})


def of_rows(rows: Rows) -> dict[str, float]:
    """The same of an evaluation: ``<split>/<task>/<metric>``."""
    return {
        f"{split}/{task}/{name}": value
        for split, tasks in rows.items()
        for task, metrics in tasks.items()
        for name, value in metrics.items()
        if value is not None
    }


def of_history(epochs: Iterable[tuple[Numbers, Mapping[str, Numbers]]]) -> Curves:
    """Terms and scores of the epochs of a whole stage, as one short list a name."""
    values = [of_epoch(terms, scores) for terms, scores in epochs]
    names = dict.fromkeys(name for each in values for name in each)
    return {name: tuple(_short(each.get(name)) for each in values) for name in names}


def at_epoch(curves: Curves, epoch: int) -> dict[str, float]:
    """The values of one epoch (1-based) that are there."""
    found = {name: line[epoch - 1] for name, line in curves.items() if len(line) >= epoch}
    return {name: value for name, value in found.items() if value is not None}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
