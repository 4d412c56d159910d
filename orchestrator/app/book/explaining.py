"""``had explain``: why two stages have different keys, or why one was not found in the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from had_core.errors import BadInput
from orchestrator.app.book.nearest import sealed_near
from orchestrator.app.book.planned import Plan, asked_plan, recorded_plan
from orchestrator.app.book.reading import sealed_fit
from orchestrator.app.opening import open_existing
from orchestrator.display.book import ExplainResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.explain import Explanation
from orchestrator.plan.explain import explain as explain_specs
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

_PREFIX = re.compile(r"(?![0-9a-f]{32}$)[0-9a-f]+")  # 32 digits are an MLflow run id
NAMED, PLANNED, NEAREST = "named", "planned", "nearest"


def explain(
    names: Sequence[str],
    overrides: Sequence[str],
    root: str,
    note: Callable[[str], None] = lambda text: None,
) -> ExplainResult:
    """Compare the lineages of two stages.

    ::

        A B             these two
        A               A and the nearest other sealed stage of the same tasks
        A OVERRIDES     A, and the stage of the same tasks that these settings plan; where A itself
                        is planned and not sealed, the nearest sealed one

    Args:
        names: one or two stages, each by its key's first digits or an MLflow run id. A key may be
            of a stage that is only planned: by ``overrides``, or by a run of the store.

    Raises BadInput for a stage that is unknown, ambiguous or damaged, and where there is nothing
    to compare it with.
    """
    store = open_existing(root)
    finder = _Finder(store, asked_plan(overrides, note) if overrides else {})
    fits = [finder.find(name) for name in names]
    chosen = NAMED
    if len(fits) == 1:
        chosen, other = _other(store, fits[0], finder.plan)
        fits.append(other)
    left, right = fits
    return ExplainResult(
        store.uri,
        explain_specs(left, right),
        chosen=chosen,
        left_sealed=store.is_sealed(ArtifactKind.FIT, left.key),
        right_sealed=store.is_sealed(ArtifactKind.FIT, right.key),
    )


@dataclass
class _Finder:
    """Stages by name: sealed ones first, then planned ones."""

    store: Store
    plan: Plan
    _recorded: dict[str, FitSpec] = field(default_factory=dict)

    def find(self, name: str) -> FitSpec:
        try:
            return sealed_fit(self.store, name)
        except BadInput as error:
            found = _beginning(self.plan, name)
            if not found and _PREFIX.fullmatch(name):
                if self.store.find(name):
                    raise  # several sealed ones, or a damaged one
                self._recorded = self._recorded or dict(recorded_plan(self.store))
                found = _beginning(self._recorded, name)
            if not found:
                raise
            if len(found) > 1:
                listed = ", ".join(each.key[: len(name) + 8] for each in found[:10])
                raise BadInput(
                    f"key '{name}' begins {len(found)} planned stages: one of {listed}"
                ) from error
            return found[0]


def _beginning(plan: Mapping[str, FitSpec], prefix: str) -> list[FitSpec]:
    return [plan[key] for key in sorted(plan) if key.startswith(prefix)]


def _other(store: Store, fit: FitSpec, plan: Plan) -> tuple[str, FitSpec]:
    """What one stage is compared with, and how that was chosen."""
    tasks = fit.config.tasks
    if plan and store.is_sealed(ArtifactKind.FIT, fit.key):
        planned = plan.get(fit.key) or _nearest(
            fit, [each for each in plan.values() if each.config.tasks == tasks]
        )
        if planned is None:
            orders = sorted({" > ".join(each.config.tasks) for each in plan.values()})
            raise BadInput(
                f"these settings plan no stage that knows {' > '.join(tasks)}, as {fit.key[:12]} "
                f"does: they plan {', '.join(orders)}"
            )
        return PLANNED, planned
    nearest = _nearest(fit, sealed_near(store, fit))
    if nearest is None:
        raise BadInput(
            f"no other stage that knows {' > '.join(tasks)} is sealed in store {store.uri}: name "
            f"a second one to compare {fit.key[:12]} with"
        )
    return NEAREST, nearest


def _nearest(fit: FitSpec, others: Sequence[FitSpec]) -> FitSpec | None:
    """The one that parts from it last, then by the fewest fields."""

    def distance(other: FitSpec) -> tuple[int, int, str]:
        found: Explanation = explain_specs(fit, other)
        parted = found.first.depth if found.first else 0
        return -parted, sum(len(level.fields) for level in found.levels), other.key

    return min(others, key=distance, default=None)
