"""The settings of a sweep: frozen, validated. Imports neither Ray nor Optuna."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from had_core.configs import require
from had_core.errors import BadInput

Value = str | bool | int | float  # of one parameter
Params = Mapping[str, Value]  # dotted path of a setting -> its value in one trial

MOST_POINTS = 10_000  # of a grid; more than anyone trains
MOST_TRIALS = 100_000
_MOST_SEED = 2**31  # leaves room for one seed a trial below numpy's limit


class Sampler(enum.Enum):
    """How settings are chosen. GRID takes every point of a finite space once."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"
    NSGA2 = "nsga2"


class Objective(enum.Enum):
    """What a setting is worth over its orders; see ``objective.combine``.

    FINAL_AND_FORGETTING is two objectives: mean Delta_m (up) and mean forgetting (down).
    """

    MEAN = "mean"
    WORST = "worst"
    CVAR = "cvar"
    FINAL_AND_FORGETTING = "final_and_forgetting"

    @property
    def is_single(self) -> bool:
        return self is not Objective.FINAL_AND_FORGETTING


class Pruner(enum.Enum):
    """Optuna's pruners; a step is one whole order."""

    NONE = "none"
    MEDIAN = "median"
    PERCENTILE = "percentile"
    HALVING = "halving"


class RangeKind(enum.Enum):
    """Tells the two ranges apart in JSON, where 3.0 and 3 are one value."""

    FLOAT = "float"
    INT = "int"


@dataclass(frozen=True)
class FloatRange:
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    kind: RangeKind = RangeKind.FLOAT

    def __post_init__(self) -> None:
        require(self.kind is RangeKind.FLOAT, "kind", self.kind, "float")

    def check(self, at: str) -> None:
        """Raises BadInput naming ``at``."""
        _check_range(self, at)

    @property
    def corners(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    @property
    def points(self) -> tuple[Value, ...] | None:
        """All values, None where there is no end of them."""
        if self.step is None:
            return None
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return tuple(float(low + k * step) for k in range(_steps(self) + 1))

    @property
    def size(self) -> float:
        return math.inf if self.step is None else _steps(self) + 1


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool = False
    step: int | None = None
    kind: RangeKind = RangeKind.INT

    def __post_init__(self) -> None:
        require(self.kind is RangeKind.INT, "kind", self.kind, "int")

    def check(self, at: str) -> None:
        """Raises BadInput naming ``at``."""
        _check_range(self, at)

    @property
    def corners(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    @property
    def points(self) -> tuple[Value, ...] | None:
        return tuple(range(self.low, self.high + 1, self.step or 1))

    @property
    def size(self) -> float:
        return _steps(self) + 1


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Value, ...]

    def check(self, at: str) -> None:
        """Raises BadInput naming ``at``."""
        require(bool(self.values), at, "[]", "one choice or more")
        for value in self.values:
            require(self.values.count(value) == 1, at, list(self.values), "no choice twice")

    @property
    def corners(self) -> tuple[Value, ...]:
        return self.values

    @property
    def points(self) -> tuple[Value, ...] | None:
        return self.values

    @property
    def size(self) -> float:
        return len(self.values)


Dimension = FloatRange | IntRange | Choice


def _check_range(span: FloatRange | IntRange, at: str) -> None:
    shown = f"{span.low:g}..{span.high:g}"
    require(span.low < span.high, at, shown, "low below high")
    require(span.low > 0 or not span.log, at, shown, "low above 0 where log is true")
    if span.step is not None:
        require(not span.log, f"{at}.step", span.step, "null where log is true")
        require(span.step > 0, f"{at}.step", span.step, "a number above 0")
        width = Decimal(str(span.high)) - Decimal(str(span.low))
        require(
            width % Decimal(str(span.step)) == 0,
            f"{at}.step",
            span.step,
            f"a number that divides {width}, the width of the range",
        )


def _steps(span: FloatRange | IntRange) -> int:
    width = Decimal(str(span.high)) - Decimal(str(span.low))
    return int(width / Decimal(str(span.step or 1)))


@dataclass(frozen=True)
class SearchConfig:
    """A sweep.

    Attributes:
        sampler: see Sampler.
        trials: settings to judge; with GRID the number of points. More of them continue the sweep.
        space: what is searched, by the dotted path of the setting (``method.lambda``; a weight a
            task is ``method.lambda.depth``).
        objective: see Objective.
        cvar_alpha: share of the worst orders that CVAR averages.
        pruner: see Pruner.
        pruner_startup_trials: trials that have to end before MEDIAN and PERCENTILE prune.
        pruner_warmup_orders: orders that every trial may finish.
        pruner_percentile: PERCENTILE keeps a trial that is among this best part, in percent.
        max_concurrent: trials at the same time.
        time_budget_s: no trial begins after so many seconds of one command; None for no limit.
        stage_budget: no trial begins after so many trained stages of one command.
        seed: of the sampler and of the sequence in which a trial's orders count.
        storage: URL of the Optuna storage; None is a sqlite file in the store.
    """

    trials: int = field(metadata={"key": False})
    space: Mapping[str, Dimension]
    sampler: Sampler = Sampler.TPE
    objective: Objective = Objective.MEAN
    cvar_alpha: float = 0.5
    pruner: Pruner = Pruner.NONE
    pruner_startup_trials: int = 5
    pruner_warmup_orders: int = 1
    pruner_percentile: float = 25.0
    max_concurrent: int = field(default=4, metadata={"key": False})
    time_budget_s: float | None = field(default=None, metadata={"key": False})
    stage_budget: int | None = field(default=None, metadata={"key": False})
    seed: int = 0
    storage: str | None = field(default=None, metadata={"key": False})

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_pruner(self)
        if not self.space:
            raise BadInput("search.space={} is not allowed: one setting to search or more")
        for path, dimension in self.space.items():
            dimension.check(f"search.space.{path}")
        _check_trials(self)

    @property
    def size(self) -> float:
        """Number of settings in the space; infinite where a range has no step."""
        return math.prod(dimension.size for dimension in self.space.values())


def _check_numbers(search: SearchConfig) -> None:
    require(
        1 <= search.trials <= MOST_TRIALS, "search.trials", search.trials, f"1 to {MOST_TRIALS}"
    )
    require(search.max_concurrent >= 1, "search.max_concurrent", search.max_concurrent, "1 or more")
    require(0 <= search.seed < _MOST_SEED, "search.seed", search.seed, f"0 to {_MOST_SEED - 1}")
    alpha = search.cvar_alpha
    require(0 < alpha <= 1, "search.cvar_alpha", alpha, "0 < cvar_alpha <= 1")
    for name in ("time_budget_s", "stage_budget"):
        value = getattr(search, name)
        require(value is None or value > 0, f"search.{name}", value, "a number above 0, or null")
    require(search.storage != "", "search.storage", "''", "a URL, or null")


def _check_pruner(search: SearchConfig) -> None:
    require(
        search.pruner is Pruner.NONE or search.objective.is_single,
        "search.pruner",
        search.pruner,
        f"none with the two objectives of search.objective={search.objective.value}",
    )
    startup, warmup = search.pruner_startup_trials, search.pruner_warmup_orders
    require(startup >= 0, "search.pruner_startup_trials", startup, "0 or more")
    require(warmup >= 1, "search.pruner_warmup_orders", warmup, "1 or more")
    percentile = search.pruner_percentile
    require(0 < percentile < 100, "search.pruner_percentile", percentile, "0 < percentile < 100")


def _check_trials(search: SearchConfig) -> None:
    """A finite space has no more trials than points, a grid exactly as many."""
    if search.sampler is Sampler.GRID:
        for path, dimension in search.space.items():
            require(
                math.isfinite(dimension.size),
                f"search.space.{path}",
                "a range without step",
                "a list, or a range with a step, where search.sampler=grid",
            )
        require(
            search.size <= MOST_POINTS,
            "search.space",
            f"{search.size:.0f} points",
            f"up to {MOST_POINTS} where search.sampler=grid",
        )
        require(
            search.trials == search.size,
            "search.trials",
            search.trials,
            f"{search.size:.0f}, the points of the grid",
        )
    require(
        search.trials <= search.size,
        "search.trials",
        search.trials,
        f"up to {search.size:g}, the settings in search.space",
    )
