"""``had export``: a stage's net as files that need no store.

::

    OUT/model.safetensors   the weights; says itself what net and which tasks (had_core.portable)
    OUT/model.pt2           the same net as a torch.export program: runs with torch alone
    OUT/load_example.py     loads the first, predicts, prints
    OUT/card.md             what it is, how good, from what, how to use it
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from orchestrator.app.book.placing import new_folder, written_whole
from orchestrator.app.book.showing import show
from orchestrator.app.book.trained import TrainedStage, trained_stage
from orchestrator.app.opening import open_existing
from orchestrator.display.card import Ancestor, CardFacts, card
from orchestrator.display.use import ExportedFile, ExportResult

MODEL, PROGRAM, EXAMPLE, CARD = "model.safetensors", "model.pt2", "load_example.py", "card.md"


def export(name: str, out: str, root: str) -> ExportResult:
    """Write the stage's net to a new or empty folder, all of it or nothing.

    Raises:
        BadInput: a stage that cannot be used, or a place that holds other files.
        ProgramDiffers: torch.export changed what the net computes.
    """
    from had_core import portable, program

    store = open_existing(root)
    stage = trained_stage(store, name)
    target = new_folder(out)
    weights = stage.portable()
    compiled = program.export(portable.from_bytes(weights).net, stage.height, stage.width)
    files = {MODEL: weights, PROGRAM: compiled.data, EXAMPLE: _example()}
    sums = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    facts = CardFacts(
        stage=show(stage.key, root),
        tasks=stage.tasks,
        dataset=stage.dataset,
        fingerprint=stage.fit.data_fingerprint,
        height=stage.height,
        width=stage.width,
        initial_weights=stage.fit.config.net.weights_sha256,
        lineage=_lineage(stage),
        any_size=compiled.any_size,
        smallest=compiled.smallest,
        difference=compiled.difference,
        sha256=sums,
    )
    files[CARD] = card(facts).encode()
    with written_whole(target) as folder:
        for file, data in files.items():
            (folder / file).write_bytes(data)
    return ExportResult(
        key=stage.key,
        store=store.uri,
        out=str(target),
        files=tuple(ExportedFile.of(file, data) for file, data in files.items()),
        any_size=compiled.any_size,
        difference=compiled.difference,
    )


def _lineage(stage: TrainedStage) -> tuple[Ancestor, ...]:
    return tuple(
        Ancestor(
            key=fit.key,
            learns=tuple(view.task for view in fit.config.views),
            method=fit.config.method.name,
            epochs=fit.config.train.epochs,
        )
        for fit in stage.fit.lineage()
    )


def _example() -> bytes:
    return Path(__file__).with_name(EXAMPLE).read_bytes()
