"""What people see: MLflow's UI in a real browser, over a store that a real sweep wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_pages import Pages, served

REPO = Path(__file__).resolve().parents[2]
SWEEP = (
    "sweep experiment=quickstart name=seen cluster=inline cluster.threads=1 "
    "tasks=[semantic,depth] orders=all search.trials=2 "
    "dataset.build.train=40 dataset.build.test=4 dataset.build.height=32 dataset.build.width=48 "
    "train.epochs=2 train.batch_size=4 train.eval_every=1 tracking.system_every=0.5"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """A sweep of two trials over both orders of two tasks."""
    root = tmp_path_factory.mktemp("seen")
    places = [f"store.root={root / 'store'}", f"dataset.path={root / 'data'}"]
    command = [sys.executable, "-m", "orchestrator.cli.main", *SWEEP.split(), *places]
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(root / "store")


@pytest.fixture(scope="module")
def pages(store, chromium) -> Iterator[Pages]:
    """The server; the browser comes first, so that a machine without one skips at once."""
    with served(store) as pages:
        yield pages


@pytest.fixture(scope="module")
def sequence(pages) -> Any:
    return pages.found(kind="sequence", method="had", trial="t0000", order="depth>semantic")[0]


@pytest.fixture(scope="module")
def stage(pages, sequence) -> Any:
    """The second stage, which HAD trained with one old task."""
    tags = {"sequence": sequence.data.tags["had.sequence"], "position": "2"}
    return pages.found(kind="stage", reused="false", **tags)[0]


@pytest.mark.parametrize("search", ["", "tags.`had.trial` = 't0000'"])
def test_runs_are_nested_also_under_a_filter(chromium, pages, sequence, stage, search):
    (sweep,) = pages.found(kind="sweep")
    trial = pages.found(kind="trial", trial="t0000")[0]
    names = [run.info.run_name for run in (sweep, trial, sequence, stage)]
    with pages.runs(chromium, sweep.info.experiment_id, search) as page:
        pages.unfold(page, *names[:-1])
        page.get_by_role("link", name=names[-1], exact=True).wait_for()
        levels = pages.levels(page)
    assert [levels[name] for name in names] == [0, 1, 2, 3]
    trials = [name for name in levels if name.startswith("t000")]
    assert len(trials) == (1 if search else 2)


def test_a_filter_on_stages_leaves_them_under_their_sequences(chromium, pages, sequence):
    search = "tags.`had.kind` = 'stage'"
    with pages.runs(chromium, sequence.info.experiment_id, search) as page:
        assert set(pages.levels(page).values()) == {0}
        pages.unfold(page, sequence.info.run_name)
        page.get_by_role("link", name="2 semantic", exact=True).wait_for()
        assert set(pages.levels(page).values()) == {0, 1}


def test_a_stage_shows_its_curves(chromium, pages, stage):
    with pages.run(chromium, stage, "model-metrics") as page:
        for metric in ("train/new/semantic", "train/db/depth", "train/sg/depth", "train/total"):
            assert pages.curve(page, metric) == 2


def test_a_sequence_shows_forgetting_on_one_axis(chromium, pages, sequence):
    with pages.run(chromium, sequence, "model-metrics") as page:
        assert pages.curve(page, "val/depth/abs_err") == 4  # two stages of two epochs
        assert pages.curve(page, "R/depth/abs_err") == 2
        assert pages.curve(page, "train/new/semantic") == 2


def test_a_stage_shows_its_machine(chromium, pages, stage):
    with pages.run(chromium, stage, "system-metrics") as page:
        assert pages.curve(page, "system/cpu_utilization_percentage") == 2


def test_a_stage_shows_its_pictures(chromium, pages, stage):
    with pages.run(chromium, stage, "artifacts") as page:
        picture = pages.look(page, "examples", "depth.png")
        assert picture.evaluate("image => image.naturalWidth") > 500


def test_a_sequence_shows_its_matrix_and_predictions(chromium, pages, sequence):
    with pages.run(chromium, sequence, "artifacts") as page:
        assert pages.look(page, "R.svg").evaluate("image => image.naturalWidth") >= 400
        page.get_by_text("predictions.json", exact=True).click()
        page.get_by_role("columnheader", name="after 2 semantic").wait_for()
        cells = page.get_by_role("cell").locator("img")
        cells.nth(4).wait_for()  # they come one by one


def test_a_sweep_shows_its_plots_and_what_to_type(chromium, pages):
    (sweep,) = pages.found(kind="sweep")
    with pages.run(chromium, sweep, "artifacts") as page:
        pages.look(page, "order_spread.svg")
        page.get_by_text("plots.html", exact=True).wait_for()
    with pages.run(chromium, sweep) as page:
        page.get_by_text("had resume seen", exact=True).wait_for(state="attached")


def test_a_model_shows_where_it_comes_from(chromium, pages, stage):
    parent = stage.data.tags["had.parent_stage_key"]
    with pages.run(chromium, stage, height=3000) as page:
        page.get_by_text("Logged models (2)").wait_for()
        page.get_by_role("link", name="depth " + parent[:8]).first.wait_for()
        page.get_by_role("link", name="depth>semantic").first.wait_for()
    with pages.model(chromium, stage) as page:
        page.get_by_text(parent[:12]).first.wait_for()
        page.get_by_role("link", name=stage.info.run_name).first.wait_for()
        page.get_by_text("val/depth/abs_err", exact=True).wait_for()
