"""Across numerics classes: do two trainings of one stage differ by more than rounding?

Rounding differences grow exponentially over the steps, until two nets of one stage lie as far
apart as those of slightly different settings. So the weights at the end cannot tell, and what is
compared is what is stable, each as far as it is:

::

    opening   every loss term of the first step, and the new tasks' of the second, before
              rounding has grown: here other settings, data, seeds or parents show
    weights   their distance, by how far training went: both must have learned the same
    metrics   the row of R

``docs/architecture.md`` has the measurements that the tolerances come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from had_core.configs import Precision
from orchestrator.display.results import Check, Row
from orchestrator.plan.numerics import NumericsClass

if TYPE_CHECKING:
    from torch import Tensor

    from had_core.data import ShardDataset
    from orchestrator.plan.specs import FitSpec

OPENING = {Precision.FLOAT32: 1e-4, Precision.BF16: 5e-2}
"""Largest relative difference of a loss term where training began.

Of two steps only, and of distillation in the first alone: a student begins as its teacher, so that
the gradient of a distance between equal normals is nothing but rounding, which one step of Adam
makes as large as any other. From the third step on, such a term can differ by all of itself."""

FIRST_EPOCH = {Precision.FLOAT32: 5e-2, Precision.BF16: 1e-1}
"""The same of the first epoch's supervised means: for stages without kept first steps. Loose,
because rounding grows within an epoch: 0.004 was seen in one of 34 steps."""

WEIGHTS, WEIGHTS_AT_FIRST, WEIGHTS_A_STEP = 1.2, 0.05, 0.005
"""Largest distance of the weights over that which training moved them: at all, and what is allowed
of it after no step and for each step more. Adam makes whole steps of gradients that are nothing but
rounding, so that weights which hardly matter part at once."""

METRICS = 0.15
"""Largest difference of a metric, relative to the sealed value or to 0.1 of its unit."""

_LEAST_SHARE = 1e-2  # of the whole loss: a term that is smaller is measured by this much
_LEAST_METRIC = 0.1  # in the metric's unit, likewise


def agreement(
    fit: FitSpec,
    mine: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]],
    rows: tuple[Row, Row],
    moved: float,
) -> tuple[Check, ...]:
    """What is compared, with what is allowed.

    Args:
        mine, theirs: sealed histories of the rerun and of the stage.
        rows: of R, likewise.
        moved: distance of the weights over that which training moved them.
    """
    precision = fit.config.train.precision
    steps = int(theirs[-1]["steps"]) if theirs else 0
    return (
        opening_check(mine, theirs, precision),
        Check("weights", _finite(moved), weights_allowed(steps), f"after {steps} steps"),
        metrics_check(*rows),
    )


def opening_check(
    mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], precision: Precision
) -> Check:
    """The loss terms where training began."""
    left, right = (history[0].get("opening", ()) if history else () for history in (mine, theirs))
    if left and right:
        pairs = [("in step 1", left[0], right[0])]
        if len(left) > 1 and len(right) > 1:
            pairs.append(("in step 2", _supervised(left[1]), _supervised(right[1])))
        allowed = OPENING[precision]
    else:
        ends = [_supervised(history[0]["terms"]) if history else {} for history in (mine, theirs)]
        pairs, allowed = [("in the first epoch", ends[0], ends[1])], FIRST_EPOCH[precision]
    gaps = [(gap, f"{term} {where}") for where, a, b in pairs for gap, term in _terms_apart(a, b)]
    gap, where = max(gaps, default=(math.inf, "no loss was recorded"))
    return Check("opening", _finite(gap), allowed, where)


def _supervised(terms: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in terms.items() if name.startswith("new/")}


def weights_allowed(steps: int) -> float:
    """How far apart rounding may have brought two nets after so many steps."""
    return min(WEIGHTS, WEIGHTS_AT_FIRST + WEIGHTS_A_STEP * steps)


def metrics_check(mine: Row, theirs: Row) -> Check:
    """The rows of R."""
    gaps = [(0.0, "no metric was recorded")] if mine == theirs == {} else []
    for task in sorted({*mine, *theirs}):
        left, right = mine.get(task, {}), theirs.get(task, {})
        for metric in sorted({*left, *right}):
            gap = _apart(left.get(metric), right.get(metric), _LEAST_METRIC)
            gaps.append((gap, f"{task}/{metric}"))
    gap, where = max(gaps)
    return Check("metrics", _finite(gap), METRICS, where)


def movement(
    fit: FitSpec,
    parent: Mapping[str, Tensor] | None,
    again: Mapping[str, Tensor],
    sealed: Mapping[str, Tensor],
    dataset: ShardDataset,
) -> float:
    """Distance of the two nets over that of the sealed one from where it started."""
    from had_core.building import build_net, resolve_tasks
    from had_core.tensors import relative_distance

    tasks = resolve_tasks(fit.config, dataset.split("train").tasks)
    start = build_net(fit.config, tasks, parent).state_dict()
    return relative_distance(again, sealed, start)


def bitwise_overrides(
    mine: NumericsClass, theirs: NumericsClass, mixed: bool
) -> tuple[str, ...] | None:
    """Overrides with which a rerun here is of the sealed class; None where none can make it so."""
    differing = set(mine.differences(theirs))
    if mixed or differing - {"workers", "threads", "device"}:
        return None
    place = (f"cluster.workers={theirs.workers}", f"cluster.threads={theirs.threads}")
    if "device" not in differing:
        return place
    return (*place, "cluster.device=cpu") if theirs.device == "cpu" else None


def _terms_apart(
    mine: Mapping[str, float], theirs: Mapping[str, float]
) -> Iterator[tuple[float, str]]:
    least = _LEAST_SHARE * sum(abs(value) for value in theirs.values())
    for term in sorted({*mine, *theirs}):
        if term in mine and term in theirs:
            yield _apart(mine[term], theirs[term], least), term
        else:
            yield math.inf, term


def _apart(mine: float | None, theirs: float | None, least: float) -> float:
    """``|mine - theirs|`` relative to ``|theirs|``, or to ``least`` where that is more."""
    if mine is None or theirs is None:
        return 0.0 if mine is theirs else math.inf
    gap = abs(mine - theirs)
    size = max(abs(theirs), least)
    return gap / size if size else (math.inf if gap else 0.0)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
