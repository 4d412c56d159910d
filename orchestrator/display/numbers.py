"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from had_core.tasks import Direction, MetricSpec
from orchestrator.display.summary import Spread

ARROWS = {Direction.UP: "↑", Direction.DOWN: "↓"}


def duration(seconds: float) -> str:
    """``9.4 s``, ``2:07 min`` or ``1:02:03 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def counted(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``: for nouns that only take an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float | None) -> str:
    """Three decimals, one from 10 on; a dash where it is not defined."""
    return "-" if value is None else f"{value:.{_decimals(value)}f}"


def spread_text(
    spread: Spread | None,
    *,
    percent: float | None = None,
    signed: bool = False,
    of: int | None = None,
) -> str:
    """``0.412 ± 0.010``: both with the decimals that suit the mean, or more where they would
    show a deviation as 0.

    Args:
        percent: show the values times it, as percent.
        signed: with a plus sign.
        of: how many values there should be; the number is shown where there are fewer.
    """
    if spread is None:
        return "-"
    factor = 1.0 if percent is None else percent
    decimals = _decimals(spread.mean) if percent is None else 1
    while spread.std and decimals < 3 and round(spread.std * factor, decimals) == 0:
        decimals += 1
    text = f"{spread.mean * factor:{'+' if signed else ''}.{decimals}f}"
    if spread.std is not None:
        text += f" ± {spread.std * factor:.{decimals}f}"
    if percent is not None:
        text += " %"
    return text if of is None or spread.count == of else f"{text} (n={spread.count})"


def metric_title(task: str, metric: MetricSpec) -> str:
    """``depth``, and below it ``abs_err m ↓``."""
    named = metric.name.endswith(metric.unit)  # mean_deg says its unit itself
    unit = f" {metric.unit}" if metric.unit and not named else ""
    return f"{task}\n{metric.name}{unit} {ARROWS[metric.direction]}"


def params_text(params: Mapping[str, object]) -> str:
    """``lambda 3.1  delta 0.52``: without what all settings of a method have before their name."""
    return "  ".join(f"{param_name(path)} {param_text(value)}" for path, value in params.items())


def param_name(path: str) -> str:
    """``method.loss.delta`` is shown as ``delta``, ``method.lambda.depth`` as ``lambda.depth``."""
    return path.removeprefix("method.").removeprefix("loss.")


def param_text(value: object) -> str:
    """Four digits that count."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _decimals(value: float) -> int:
    return 1 if abs(value) >= 10 else 3
