"""``had report`` from the command line: what it writes, what it refuses, what it tells."""

from __future__ import annotations

import json

import pytest
from made_up_report import made_up

from had_core.methods import HadConfig
from orchestrator.app.book.report_file import write_report
from orchestrator.app.book.reporting import report
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.tracking.events import End, StageFailed, StageRef
from orchestrator.tracking.journal import Journal


@pytest.fixture
def quick(monkeypatch):
    """Another report than the store's, and nothing of it is drawn."""
    from matplotlib.figure import Figure

    monkeypatch.setattr("orchestrator.app.book.reporting.report", lambda name, root: made_up())
    monkeypatch.setattr(Figure, "savefig", lambda self, target, **how: target.write(b"<svg/>"))


@pytest.mark.parametrize(
    ("out", "to", "begins"),
    [
        ("r.html", None, b"<!DOCTYPE html>"),
        ("r.md", None, b"# made-up"),
        ("r.tex", None, b"% needs"),
        ("r.parquet", None, b"PAR1"),
        ("r.txt", "md", b"# made-up"),
    ],
)
def test_the_format_follows_the_files_name_unless_it_is_named(
    had, quick, tmp_path, out, to, begins
):
    words = ["--format", to] if to else []
    done = had("report", "x", "-o", str(tmp_path / out), *words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / out).read_bytes().startswith(begins)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [out]


def test_without_a_file_it_is_named_after_the_run(had, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert had("report", "x", "--format", "latex").exit_code == 0
    assert (tmp_path / "x.tex").is_file()


def test_what_cannot_be_used_is_refused_before_anything_is_written(refused, made, tmp_path):
    made.run("alpha")
    assert "run 'alpa' is not in store" in refused("report", "alpa")
    assert "is it one of alpha?" in refused("report", "alpa")
    assert "--format pdf is not allowed: one of html, md, latex, parquet" in refused(
        "report", "alpha", "--format", "pdf"
    )
    assert "name=a/../b is not allowed" in refused("report", "a/../b")
    long = "a" * 300
    assert "characters is no path: file name too long" in refused("runs", "--store", long)
    out = str(tmp_path / "no" / "r.html")
    assert "lies in a folder that does not exist" in refused("report", "alpha", "-o", out)
    assert "has no known ending" in refused("report", "alpha", "-o", str(tmp_path / "r.txt"))
    assert "is a folder" in refused("report", "alpha", "-o", str(tmp_path), "--format", "md")
    assert not list(tmp_path.glob("*.html"))


def test_a_run_that_never_began_is_told(refused, made):
    config = made.config("alpha", HadConfig(), [["semantic", "depth"]], [0], _train())
    made.store.runs.create("alpha", config.to_json())
    assert "has nothing to report: it has not begun" in refused("report", "alpha")


def test_resuming_says_what_is_known_of_the_name(refused, made):
    """A near name, or that the record is lost."""
    config = made.config("alpha", HadConfig(), [["semantic", "depth"]], [0], _train())
    made.store.runs.create("alpha", config.to_json())
    assert "run 'alpa' is not in store" in (said := refused("resume", "alpa"))
    assert "is it one of alpha?" in said
    made.store.fs.write("runs/alpha.json", b"{")
    assert "run 'alpha' has no record in store" in refused("resume", "alpha")


def _train():
    from had_core.configs import TrainConfig

    return TrainConfig()


def test_a_file_that_cannot_be_written_leaves_the_old_one(refused, quick, tmp_path, monkeypatch):
    (tmp_path / "r.md").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    said = refused("report", "x", "-o", str(tmp_path / "r.md"))
    assert "cannot be written: No space left on device" in said
    assert (tmp_path / "r.md").read_text() == "old"
    assert len(list(tmp_path.glob("*r.md*"))) == 1


# What is gathered -------------------------------------------------------------------------------


@pytest.fixture
def known_data(monkeypatch):
    """The made-up store's journals name no data set."""
    from made_up_store import FINGERPRINTS

    from had_core.tasks import DenseTask, TaskKind
    from orchestrator.app.book.report_data import KnownData

    tasks = (
        DenseTask("depth", TaskKind.SCALAR, 1, unit="m", relative_error=True),
        DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
        DenseTask("semantic", TaskKind.LABELS, 5),
    )
    data = KnownData("rooms", tasks, FINGERPRINTS, {"train": 8, "test": 2}, 48, 64)
    monkeypatch.setattr("orchestrator.app.book.reporting.known_data", lambda *_: data)


@pytest.mark.usefixtures("known_data")
def test_an_interrupted_run_is_told_with_what_is_missing(made):
    sequences = made.run("alpha", end=End.KILLED)
    key = sequences[0].stages[2].key
    for kind, gone in (
        (ArtifactKind.FIT, key),
        (ArtifactKind.EVAL, sequences[0].stages[2].evals[0].key),
    ):
        made.store.fs.delete(f"{kind.value}/{gone[:2]}/{gone}/SEAL.json")
    found = report("alpha", made.store.uri)
    assert found.state == "killed" and found.kind == "run"
    assert found.troubles[:2] == (
        "It was interrupted (2 of 3 stages are sealed): had resume alpha goes on.",
        "0 of 1 sequences shown here are complete.",
    )
    assert (found.cost.wanted, found.cost.trained, found.cost.missing) == (3, 2, 1)


@pytest.mark.usefixtures("known_data")
def test_a_failed_stage_is_told_with_its_reason(made):
    stage = made.run("alpha", end=End.FAILED)[0].stages[0]
    made.store.fs.delete(f"fit/{stage.key[:2]}/{stage.key}/SEAL.json")
    ref = StageRef(
        sequence="had:semantic>depth>normal:s0",
        key=stage.key,
        parent=None,
        position=1,
        tasks=("semantic",),
    )
    journal = Journal(made.store.uri, "alpha")
    journal.append(
        StageFailed(
            time=2e9, run="alpha", stage=ref, attempt=1, message="loss not finite", final=True
        )
    )
    journal.close()
    (said,) = (text for text in report("alpha", made.store.uri).troubles if "failed" in text)
    assert said == (
        f"Stage {stage.key[:12]} (semantic, of had:semantic → depth → normal:s0) failed: "
        "loss not finite"
    )


@pytest.mark.usefixtures("known_data")
def test_stages_that_others_trained_are_reused_and_save_their_time(made):
    made.run("alpha")
    made.run("beta", orders=[("semantic", "depth", "normal"), ("semantic", "normal", "depth")])
    cost = report("beta", made.store.uri).cost
    assert (cost.wanted, cost.unique, cost.trained, cost.reused) == (6, 5, 2, 3)
    (hours,) = cost.hours.values()
    assert hours.alone == pytest.approx(hours.spent / 2 * 6)
    assert hours.found == pytest.approx(hours.spent / 2 * 3)


@pytest.mark.usefixtures("known_data")
def test_json_says_what_was_written(made, document, tmp_path):
    made.run("alpha")
    told = document("report", "alpha", "-o", str(tmp_path / "r.md"))
    assert told["name"] == "alpha" and told["format"] == "md" and told["state"] == "finished"
    assert told["bytes"] == (tmp_path / "r.md").stat().st_size
    json.dumps(told)
    assert write_report("alpha", made.store.uri, tmp_path / "r.md", None).to_json() == told
