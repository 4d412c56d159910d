"""Example predictions after each stage, cut out of the sealed example pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import SequenceSpec, StageSpec
from orchestrator.report.model import Example, Gallery, Shown
from orchestrator.tracking.picture_parts import Tiles, take_apart

if TYPE_CHECKING:
    from PIL import Image

    from orchestrator.app.book.report_data import KnownData
    from orchestrator.store import Store

MOST_TASKS = 6
MOST_STAGES = 6  # the first and the last ones
_WIDEST = 192  # pixels of a tile: what bounds the page


def gallery_of(
    sequences: Sequence[SequenceSpec],
    names: Sequence[str],
    store: Store,
    data: KnownData,
    split: str,
) -> Gallery:
    """The first image of every task, in the first order and seed.

    Args:
        sequences: of any methods, orders and seeds.
        names: methods to show, in this order.
    """
    if not sequences or not names:
        return Gallery()
    order, seed = sequences[0].order, sequences[0].seed
    chosen = {
        s.method: s for s in sequences if s.method in names and (s.order, s.seed) == (order, seed)
    }
    missing: list[str] = []
    examples = []
    for task in order[:MOST_TASKS]:
        shown = []
        first: Tiles | None = None
        for name in names:
            after: dict[str, bytes] = {}
            for stage in _stages(chosen[name], task) if name in chosen else ():
                tiles = _tiles(stage, task, store, data, split)
                if tiles is None:
                    missing.append(f"{name} after {', '.join(stage.fit.config.new_tasks)}")
                    continue
                first = first or tiles
                after[f"after {', '.join(stage.fit.config.new_tasks)}"] = _png(tiles.prediction)
            shown.append(Shown(name, after))
        if first is not None:
            images = (_png(first.image), _png(first.truth), _png(first.legend, shrink=False))
            examples.append(Example(task, *images, tuple(shown)))
    return Gallery(order, seed, tuple(examples), _left_out(order, missing))


def _stages(sequence: SequenceSpec, task: str) -> list[StageSpec]:
    """Those that know the task: the first, and the last ones."""
    known = [stage for stage in sequence.stages if task in stage.fit.config.tasks]
    return known if len(known) <= MOST_STAGES else [known[0], *known[-MOST_STAGES + 1 :]]


def _tiles(stage: StageSpec, task: str, store: Store, data: KnownData, split: str) -> Tiles | None:
    """None where the stage has no such picture."""
    for spec in stage.evals:
        manifest = store.manifest(ArtifactKind.EVAL, spec.key) if spec.split == split else None
        file = manifest.get("pictures", {}).get(task) if manifest else None
        raw = formats.read_file(store, ArtifactKind.EVAL, spec.key, file) if file else None
        if raw is not None:
            try:
                return take_apart(raw, data.height, data.width)
            except BadInput:  # of an older layout; the rest is shown
                return None
    return None


def _png(image: Image.Image, *, shrink: bool = True) -> bytes:
    if shrink and image.width > _WIDEST:
        image = image.resize((_WIDEST, max(1, round(image.height * _WIDEST / image.width))))
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return target.getvalue()


def _left_out(order: tuple[str, ...], missing: Sequence[str]) -> str:
    said = []
    if len(order) > MOST_TASKS:
        said.append(f"The first {MOST_TASKS} of {len(order)} tasks are shown.")
    if len(order) > MOST_STAGES:
        said.append(f"Of more than {MOST_STAGES} stages the first and the last ones are shown.")
    if missing:
        count = len(dict.fromkeys(missing))
        said.append(f"Pictures of {count} stages are not in the store.")
    return " ".join(said)
