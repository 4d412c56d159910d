from __future__ import annotations

from dataclasses import replace

import pytest
from stages import RUN, execute, tree_of

from orchestrator.app.journalling import RunJournal
from orchestrator.execution import formats
from orchestrator.execution.driver import survey
from orchestrator.execution.messages import Outcome, Status
from orchestrator.store import Store
from orchestrator.tracking.events import StageReused
from orchestrator.tracking.journal import Journal, JournalReader


@pytest.mark.parametrize("trained", [True, False], ids=["trained here", "by another driver"])
def test_who_reuses_a_stage(micro_dataset, tmp_path, trained):
    """The sequence under which it was trained does not; where nobody here trained it, all do."""
    store = Store.open(tmp_path)
    tree = tree_of(micro_dataset, order=("semantic",), epochs=1, eval_every=1)
    execute(tree, micro_dataset, store, "other")
    (work,) = survey(tree, store, RUN).works
    journal = RunJournal(Journal(store.uri, RUN), tree, store)
    place = replace(work, spec={})
    journal.hear(Outcome(work.key, Status.SEALED, trained=trained, work=place))
    journal._journal.close()
    events = JournalReader.open(store.uri, RUN).events()
    told = [event.stage.sequence for event in events if isinstance(event, StageReused)]
    others = ["had:semantic:s0"]
    assert told == (others if trained else [work.sequence, *others])
    reused = next(event for event in events if isinstance(event, StageReused))
    (history,) = formats.read_history(store, work.key)
    (new,) = reused.curves["train/new/semantic"]
    assert new == pytest.approx(history["terms"]["new/semantic"], rel=1e-5)
    assert reused.curves["val/semantic/miou"] == pytest.approx(
        (history["scores"]["semantic"]["miou"],), rel=1e-5
    )
    assert [p.file for p in reused.pictures] == ["semantic.png"]
