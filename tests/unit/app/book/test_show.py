"""``had show`` over a made-up store: what it tells of sealed, begun and damaged stages."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_store import row_of

from had_core.methods import HadConfig
from had_core.progress import FitProgress
from orchestrator.plan import ArtifactKind
from orchestrator.tracking.events import EpochEnded, StageRef, StageStarted
from orchestrator.tracking.journal import Journal

ORDERS = (("semantic", "depth", "normal"), ("semantic", "normal", "depth"))
FIRST = "had:semantic>depth>normal:s0"
SECOND = "had:semantic>normal>depth:s0"


@pytest.fixture
def stages(made):
    """Stages of the first sequence of a run over two orders; another run reuses them."""
    first, _ = made.run("first", orders=ORDERS)
    made.run("second", orders=ORDERS[:1])
    return first.stages


@pytest.fixture
def begun(made):
    """The key of a stage that was interrupted after its first of two epochs."""
    key = "0123" * 16
    ref = StageRef(sequence=FIRST, key=key, parent=None, position=1, tasks=("depth",))
    journal = Journal(made.store.uri, "begun")
    journal.append(StageStarted(time=1.0, run="begun", stage=ref, attempt=1, epochs=2))
    about = {"sequence": FIRST, "key": key, "attempt": 1, "epoch": 1, "steps": 4, "images": 16}
    journal.append(EpochEnded(time=2.0, run="begun", **about, seconds=1.0, terms={}))
    journal.close()
    attempts = [{"attempt": 1, "from_epoch": 1, "steps": 4}]
    meta = {"attempts": attempts, "numerics": [{"workers": 1}]}
    made.store.partial(key).write(FitProgress(1, {}, ()).to_bytes(), meta)
    return key


def test_where_it_comes_from_and_who_uses_it(stages, document):
    one, two, three = (document("show", stage.key[:12]) for stage in stages)
    assert (one["key"], one["state"], one["parent"]) == (stages[0].key, "sealed", None)
    assert (two["learns"], two["tasks"]) == (["depth"], ["semantic", "depth"])
    assert two["parent"] == stages[0].key
    assert [child["tasks"] for child in two["children"]] == [["normal"]]
    assert sorted(child["tasks"] for child in one["children"]) == [["depth"], ["normal"]]
    assert three["children"] == []
    assert one["trained_by"] == {"run": "first", "sequence": FIRST}
    assert one["reused_by"] == [
        {"run": "first", "sequence": SECOND},
        {"run": "second", "sequence": FIRST},
    ]
    assert three["reused_by"] == [{"run": "second", "sequence": FIRST}]


def test_its_rows_files_and_training(stages, document):
    found = document("show", stages[1].key)
    assert found["rows"]["test"] == row_of(("semantic", "depth"), 2)
    sizes = {Path(file["path"]).name: file["size"] for file in found["files"]}
    assert sizes["net.safetensors"] == len(b"weights")
    assert {file["artifact"] for file in found["files"]} >= {"fit", "eval test"}
    assert found["attempts"] == [{"attempt": 1, "from_epoch": 1, "steps": 8}]
    assert (found["steps"], found["seconds"], found["numerics"]["workers"]) == (8, 2.5, 1)
    assert found["settings"]["method"]["name"] == "had"


def test_the_named_files_are_there(stages, made, document):
    for file in document("show", stages[2].key)["files"]:
        assert Path(made.store.uri, file["path"]).stat().st_size == file["size"]


def test_people_read_it_as_a_page(stages, had):
    shown = had("show", stages[0].key[:10]).stdout
    for text in (
        stages[0].key,
        "none: fresh weights",
        f"{stages[1].key[:12]} depth",
        "run second (1 sequences)",
        "miou 18.0",
        "net.safetensors",
    ):
        assert text in shown


def test_children_that_are_not_sealed_are_said_to(stages, made, document):
    made.store.fs.delete(f"fit/{stages[1].key[:2]}/{stages[1].key}")
    sealed = {c["key"]: c["sealed"] for c in document("show", stages[0].key)["children"]}
    assert sealed[stages[1].key] is False and True in sealed.values()


def test_an_interrupted_stage_is_shown_with_what_is_kept(begun, document, had):
    found = document("show", begun[:10])
    assert (found["state"], found["learns"], found["files"]) == ("partial", ["depth"], [])
    assert (found["epochs_done"], found["epochs"], found["steps"]) == (1, 2, 4)
    assert "partial: 1 of 2 epochs are kept" in had("show", begun[:10]).stdout


def test_the_kept_epochs_are_those_of_the_state(begun, made, document):
    """A killed worker's journal may lack its last epochs, which the state holds."""
    partial = made.store.partial(begun)
    partial.write(FitProgress(2, {}, ()).to_bytes(), {})
    assert document("show", begun)["epochs_done"] == 2
    for path in Path(made.store.uri).rglob("progress-*.bin"):
        if FitProgress.epoch_in(path.read_bytes()) == 2:
            path.write_bytes(b"damaged")
    assert document("show", begun)["epochs_done"] == 1
    partial.write(b"no state", {})
    assert document("show", begun)["epochs_done"] == 0


def test_a_damaged_stage_is_lost_and_the_rest_is_told(stages, made, document, had):
    key = stages[1].key
    (net,) = Path(made.store.uri).rglob(f"{key}/*/net.safetensors")
    net.write_bytes(b"short")
    assert made.store.load(ArtifactKind.FIT, key) is None
    found = document("show", key[:12])
    assert (found["state"], found["epochs_done"], found["parent"]) == ("lost", 0, stages[0].key)
    assert "had run trains it again" in had("show", key[:12]).stdout


def test_a_missing_evaluation_leaves_its_row_out(stages, made, document):
    made.store.fs.delete(f"eval/{stages[1].evals[0].key[:2]}")
    found = document("show", stages[1].key)
    assert "test" not in found["rows"] and found["state"] == "sealed"


def test_bad_input_is_refused_by_name(stages, made, refused):
    assert "begins no fit" in refused("show", "0000000000")
    assert "key 'me' is not allowed" in refused("show", "me")
    assert "holds no store" in refused("show", "00", "--store", f"{made.store.uri}-not")
    made.run("more", method=HadConfig(weight=9.0), seeds=range(17))
    digits = [key[0] for key in made.store.keys(ArtifactKind.FIT)]
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    assert "begins" in refused("show", twice) and "one of fit" in refused("show", twice)


def test_a_damaged_journal_does_not_hide_the_stage(stages, made, document):
    for segment in Path(made.store.uri, "journal", "second").glob("*.jsonl"):
        segment.write_bytes(segment.read_bytes()[:-5])
    assert document("show", stages[2].key)["reused_by"] == []


def test_the_ui_opens_no_store_that_is_not_there(refused, tmp_path):
    nowhere = ("ui", "--store", str(tmp_path / "nowhere"))
    assert "holds no store" in refused(*nowhere)
    null = "sqlite:////dev/null"
    assert f"tracking.uri={null} is not allowed" in refused(*nowhere, "--tracking-uri", null)
    assert not (tmp_path / "nowhere").exists()
