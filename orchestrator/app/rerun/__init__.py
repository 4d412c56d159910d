"""``had rerun``: one stage again, from its parent's stored checkpoint.

::

    no overrides      the stage in a store of its own that holds nothing but the parent: the sealed
                      result cannot be found, reused or replaced; then the two are compared
    overrides         a new stage beside the old one, sealed in the store itself
    --descendants     the same for everything that starts from the stage
    --ancestors       first trains, and seals, the ancestors that the store lacks
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.app.datasets import open_dataset, require_found
from orchestrator.app.opening import open_existing
from orchestrator.app.preflight import check_initial
from orchestrator.app.rerun.ancestors import missing_ancestors, train_ancestors
from orchestrator.app.rerun.asked import apply, changes_of, check_data, new_fit
from orchestrator.app.rerun.branching import branch
from orchestrator.app.rerun.training import RerunFailed
from orchestrator.app.rerun.verifying import verify
from orchestrator.app.stages import find_stage
from orchestrator.display.numbers import counted

if TYPE_CHECKING:
    from orchestrator.config import StoreConfig
    from orchestrator.display.live import Display
    from orchestrator.display.results import RerunResult

__all__ = ["RerunFailed", "rerun"]


def rerun(
    name: str,
    where: StoreConfig,
    overrides: Sequence[str],
    display: Display,
    *,
    ancestors: bool = False,
    descendants: bool = False,
) -> RerunResult:
    """Train the stage again; see the module.

    Args:
        name: the beginning of its key, or an MLflow run id.
        ancestors: train those that the store lacks; else they are a reason to refuse.
        descendants: of the sealed stages that start from it too, at any distance.

    Raises:
        BadInput: an unknown stage, ancestors that the store lacks, overrides that would change the
            parent or nothing at all, or a stage that exists already; nothing was trained.
        RerunFailed: training failed.
    """
    started = time.perf_counter()
    store = open_existing(where.root)
    known = find_stage(store, name)
    wanted = apply(known, store, overrides)
    fit = new_fit(known.fit, wanted)
    changed = changes_of(overrides)
    if changed and fit.key == known.fit.key:
        raise BadInput(
            f"{' '.join(changed)} changes nothing in stage {fit.key[:12]}: leave it out to verify "
            "the stage"
        )
    require_found(wanted.config.dataset, known.config.dataset)
    store.require_writable()
    dataset = open_dataset(wanted.config.dataset, display.note)
    check_data(known.fit, dataset)
    missing = missing_ancestors(known.fit, store)
    if missing and not ancestors:
        raise BadInput(_lacks(known.fit.key, [each.key for each in missing]))
    check_initial([*missing, fit])
    if fit.key != known.fit.key:
        result = branch(
            known, fit, wanted.config, missing, store, dataset, display, descendants=descendants
        )
    else:
        train_ancestors(known, wanted.config, missing, store, dataset, display)
        result = verify(known, overrides, store, dataset, display, descendants=descendants)
    trained = tuple(each.key for each in missing)
    return replace(result, ancestors=trained, seconds=time.perf_counter() - started)


def _lacks(key: str, missing: Sequence[str]) -> str:
    listed = ", ".join(each[:12] for each in missing)
    return (
        f"the parent of stage {key[:12]} is not in the store: {counted(len(missing), 'stage')} "
        f"would have to be trained first ({listed}, the oldest first); --ancestors does that"
    )
