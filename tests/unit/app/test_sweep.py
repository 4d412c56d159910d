"""Whole sweeps in this process: what is trained, what is scored, what is left behind."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from had_core.errors import BadInput
from had_core.methods import HadConfig, NaiveConfig
from had_core.metrics.lifelong import RMatrix
from had_core.sequence import run_sequence
from orchestrator.app.book.reporting import report
from orchestrator.app.sweep import sweep, sweep_folder
from orchestrator.config import Backend, compose
from orchestrator.display.sweep_live import SilentSweepDisplay
from orchestrator.execution.messages import Outcome
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.search.events import TrialEnded, TrialScored
from orchestrator.store import Store
from orchestrator.tracking import events
from orchestrator.tracking.events import End, TrialState, sequence_id
from orchestrator.tracking.journal import JournalReader

pytestmark = pytest.mark.integration

NAME = "swept"
WEIGHTS = (0.5, 4.0)
GRID = ("orders=all", "tasks=[semantic,depth]", "order=null", "search=grid", f"name={NAME}")


def settings(tiny, store, *more: str):
    weights = ",".join(map(str, WEIGHTS))
    words = tiny(store, *GRID, f"search.space.method.lambda=[{weights}]", *more)
    return compose([word for word in words if word != "order=[semantic,depth]"])


@pytest.fixture
def no_plots(monkeypatch):
    """For sweeps of which nobody looks at the page of plots; drawing it takes as long as two."""
    monkeypatch.setattr("orchestrator.search.plots.plots_page", lambda *arguments: None)


class Heard(SilentSweepDisplay):
    """Keeps what a sweep reports; ``at`` is called with everything."""

    def __init__(self, at=lambda event: None) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.told, self._at = [], at

    def event(self, event) -> None:
        self.told.append(event)
        self._at(event)

    def trial(self, event) -> None:
        self.told.append(event)
        self._at(event)


def journal(store: Store, kind: type) -> list:
    return [e for e in JournalReader.open(store.uri, NAME).events() if isinstance(e, kind)]


@pytest.fixture(scope="module")
def swept(tiny, tmp_path_factory):
    """A grid of two weights over both orders of two tasks; look, or copy it."""
    root = tmp_path_factory.mktemp("swept") / "store"
    config, heard = settings(tiny, root), Heard()
    return SimpleNamespace(
        config=config, heard=heard, result=sweep(config, heard), store=Store.open(root)
    )


@pytest.fixture
def stages_known(swept, tmp_path):
    """A store that has the stages of ``swept`` and nothing else: no run, no study, no journal."""
    for room in ("fit", "eval"):
        shutil.copytree(f"{swept.store.uri}/{room}", tmp_path / "store" / room)
    return tmp_path / "store"


def trained(heard: Heard) -> set[str]:
    return {e.key for e in heard.told if isinstance(e, Outcome) and e.trained}


def test_every_stage_is_trained_once(swept):
    """2 first stages, 2 of naive, 2 for each weight."""
    fits = [
        FitSpec.from_json(swept.store.manifest(ArtifactKind.FIT, key)["spec"])
        for key in swept.store.keys(ArtifactKind.FIT)
    ]
    counts = {(fit.config.method.name, len(fit.config.tasks)): 0 for fit in fits}
    for fit in fits:
        counts[fit.config.method.name, len(fit.config.tasks)] += 1
    assert counts == {("naive", 1): 2, ("naive", 2): 2, ("had", 2): 2 * len(WEIGHTS)}
    told = [e.key for e in swept.heard.told if isinstance(e, Outcome) and e.trained]
    assert sorted(told) == sorted(fit.key for fit in fits)
    assert swept.result.stages_trained == swept.result.stages_unique == 8
    assert swept.result.stages_wanted == 2 * 2 * (1 + len(WEIGHTS))


def test_the_test_split_is_never_scored(swept):
    rows = [swept.store.manifest(ArtifactKind.EVAL, k) for k in swept.store.keys(ArtifactKind.EVAL)]
    assert {row["split"] for row in rows if "split" in row} == {"val"}


def test_a_trial_is_worth_what_plain_sequences_say(swept, micro_dataset):
    """Delta_m from run_sequence, computed by hand from its rows."""
    config, result = swept.config, swept.result
    tasks = [task for task in micro_dataset.manifest.tasks if task.name in config.tasks]
    from had_core.data.slices import Slicing
    from had_core.metrics.constant import constant_scores
    from had_core.metrics.lifelong import delta_m, forgetting, mean_over_tasks

    train = micro_dataset.split("train")
    slicing = Slicing(len(train), config.slicing)
    constant = constant_scores(train, train, train_rows=slicing.all(), test_rows=slicing.val())

    def matrix(method, order):
        stages = run_sequence(
            micro_dataset,
            order,
            method,
            net=config.net,
            train=config.train,
            slicing=config.slicing,
            split="val",
        )
        return RMatrix(tuple(order), {k: stage.row for k, stage in enumerate(stages, start=1)})

    naives = [matrix(NaiveConfig(), order) for order in result.orders]
    for trial in result.trials:
        deltas = []
        for k, (order, naive) in enumerate(zip(result.orders, naives, strict=True)):
            ours = matrix(HadConfig(weight=trial.params["method.lambda"]), order)
            deltas.append(delta_m(tasks, ours.last, naive.last, constant).percent)
            assert trial.delta_m_pct[k] == deltas[-1]
            assert trial.forgetting[k] == mean_over_tasks(forgetting(ours, tasks))
        assert trial.values == (pytest.approx(sum(deltas) / len(deltas), rel=1e-12),)
    best = max(result.trials, key=lambda trial: trial.values)
    assert result.best == (best.label,)
    forgotten = [mean_over_tasks(forgetting(naive, tasks)) for naive in naives]
    assert [order.reference_forgetting.mean for order in result.best_orders] == forgotten
    assert [order.forgetting.mean for order in result.best_orders] == list(best.forgetting)
    assert result.again == (f"method.lambda={best.params['method.lambda']}",)


def test_the_journal_tells_sweep_trials_sequences_and_stages(swept):
    run = journal(swept.store, events.RunStarted)
    assert [e.kind for e in run] == [events.RunKind.SWEEP]
    trials = journal(swept.store, events.TrialFinished)
    assert [(e.trial, e.state, e.end) for e in trials] == [
        (f"t{k:04d}", TrialState.COMPLETE, End.FINISHED) for k in range(len(WEIGHTS))
    ]
    wanted = {
        sequence_id(method, order, 0, trial.label)
        for trial in swept.result.trials
        for method in ("naive", "had")
        for order in swept.result.orders
    }
    started = journal(swept.store, events.SequenceStarted)
    finished = journal(swept.store, events.SequenceFinished)
    assert {e.sequence for e in started} == {e.sequence for e in finished} == wanted
    assert len(started) == len(finished) == len(wanted)
    assert {e.end for e in finished} == {End.FINISHED}
    # Every sequence has each of its stages once: trained under its own name, or shared.
    done = {(e.stage.sequence, e.stage.key) for e in journal(swept.store, events.StageFinished)}
    shared = [(e.stage.sequence, e.stage.key) for e in journal(swept.store, events.StageReused)]
    assert len(set(shared)) == len(shared) and not done & set(shared)
    assert len(done) + len(shared) == 2 * len(wanted)
    steps = journal(swept.store, events.TrialScored)
    assert [(e.trial, e.step) for e in steps] == [
        (f"t{k:04d}", step) for k in range(len(WEIGHTS)) for step in (1, 2)
    ]


def test_the_same_command_again_trains_nothing_and_says_the_same(swept, tmp_path, tiny):
    shutil.copytree(swept.store.uri, tmp_path / "store")
    heard = Heard()
    again = sweep(settings(tiny, tmp_path / "store"), heard)
    assert heard.told == []
    assert again.stages_trained == 0
    assert [t.values for t in again.trials] == [t.values for t in swept.result.trials]


@pytest.mark.usefixtures("no_plots")
def test_a_sweep_that_was_stopped_goes_on_without_repeating_what_ended(
    swept, tmp_path, tiny, ctrl_c
):
    """Ctrl-C in the middle of the first trial's second order."""
    config = settings(tiny, tmp_path / "store")
    pressed = []

    def press(event) -> None:
        if isinstance(event, TrialScored) and not pressed:
            pressed.append(event)
            ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        sweep(config, Heard(press))
    store = Store.open(tmp_path / "store")
    sealed = set(store.keys(ArtifactKind.FIT))
    assert sealed and len(sealed) < 8
    assert journal(store, events.RunFinished)[-1].end is End.KILLED

    heard = Heard()
    result = sweep(config, heard)
    assert not trained(heard) & sealed
    expected = {t.params["method.lambda"]: t.values for t in swept.result.trials}
    assert {t.params["method.lambda"]: t.values for t in result.trials} == expected
    assert {t.state for t in result.trials} == {"complete"}


def test_another_driver_is_refused(tiny, tmp_path):
    config = settings(tiny, tmp_path / "store")
    from orchestrator.tracking.locks import FileLock

    store = Store.open(tmp_path / "store")
    with FileLock(sweep_folder(store, NAME) / ".driver.lock") as lock:
        assert lock.held
        with pytest.raises(BadInput, match=f"name={NAME} is a sweep that another process drives"):
            sweep(config, Heard())
    assert os.listdir(sweep_folder(store, NAME)) == [".driver.lock"]


@pytest.mark.usefixtures("no_plots")
def test_a_diverging_setting_fails_its_trial_and_the_sweep_goes_on(tiny, stages_known):
    words = ("search.space={train:{lr:[1e-3,1e30]}}", "method.lambda=4", "name=diverges")
    config = settings(tiny, stages_known, *words)
    heard = Heard()
    result = sweep(config, heard)
    ended = {e.number: e for e in heard.told if isinstance(e, TrialEnded)}
    states = {trial.params["train.lr"]: trial for trial in result.trials}
    assert states[1e-3].state == "complete"
    assert states[1e30].state == "failed"
    assert "not finite" in states[1e30].message and "step" in states[1e30].message
    assert len(ended) == 2


@pytest.mark.usefixtures("no_plots")
def test_trials_can_be_added_to_a_finished_sweep(tiny, stages_known):
    words = ("search=random", "search.trials=1", "search.space={method:{lambda:[0.5,4.0]}}")
    config = settings(tiny, stages_known, *words)
    assert len(sweep(config, Heard()).trials) == 1
    elsewhere = replace(
        config, cluster=replace(config.cluster, backend=Backend.RAY, address="127.0.0.1:9")
    )
    with pytest.raises(BadInput, match="cannot be reached"):
        sweep(elsewhere, Heard(), more=1)
    more = sweep(config, Heard(), more=1)
    assert more.trials_wanted == 2 and {t.state for t in more.trials} == {"complete"}
    assert len(sweep(config, Heard()).trials) == 2, "the study remembers what it was asked for"
    with pytest.raises(BadInput, match=r"search\.trials"):
        sweep(config, Heard(), more=1)


def test_the_table_holds_every_number_of_every_trial(swept):
    import pyarrow.parquet as pq

    rows = pq.read_table(swept.result.results).to_pylist()
    assert {row["split"] for row in rows} == {"val"}
    for trial in swept.result.trials:
        mine = [row for row in rows if row["trial"] == trial.label]
        assert {row["params.method.lambda"] for row in mine} == {trial.params["method.lambda"]}
        for order, delta in zip(swept.result.orders, trial.delta_m_pct, strict=True):
            (found,) = [
                row["value"]
                for row in mine
                if row["metric"] == "delta_m_pct"
                and row["label"] == "had"
                and row["order"] == ">".join(order)
            ]
            assert found == delta
    assert [e.files for e in journal(swept.store, events.RunFiles)][-1].keys() >= {
        "results.parquet",
        "plots.html",
    }


@pytest.mark.usefixtures("no_plots")
def test_a_pruned_trial_trains_no_more_than_it_was_judged_on(tiny, stages_known):
    """The second trial is given up after the first order, where it is the worse one."""
    config = settings(
        tiny,
        stages_known,
        "search.pruner=median",
        "search.pruner_startup_trials=1",
        "search.space.method.lambda=[4.0,0.1]",
    )
    whole, pruned = sweep(config, Heard()).trials
    assert (whole.state, pruned.state) == ("complete", "pruned")
    assert len(pruned.delta_m_pct) == 1 and not pruned.values
    assert pruned.delta_m_pct[0] < whole.delta_m_pct[0]


def test_its_report_has_the_same_numbers_and_leaves_the_study_alone(swept):
    found = report(NAME, swept.store.uri)
    assert (found.kind, found.state, found.split) == ("sweep", "finished", "val")
    assert found.troubles == ()
    assert found.sweep.result.trials == swept.result.trials
    assert found.sweep.result.best == swept.result.best
    best = swept.result.trial(swept.result.best[0])
    (naive, had) = found.result.methods
    assert (naive.method, had.method) == ("naive", f"had {best.label}")
    assert had.delta_m_pct.mean == pytest.approx(best.values[0])
    wanted = swept.result.stages_wanted, swept.result.stages_unique
    assert (found.cost.wanted, found.cost.unique) == wanted
    assert found.cost.trained == found.cost.unique
    assert found.sweep.importance == {}  # two trials tell nothing


def test_the_report_of_a_stopped_sweep_says_so(swept, tmp_path):
    """As a killed driver leaves it: a trial that runs, one that failed."""
    import optuna

    shutil.copytree(swept.store.uri, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    url = f"sqlite:///{sweep_folder(store, NAME) / 'study.db'}"
    study = optuna.load_study(study_name=NAME, storage=url)
    space = {"method.lambda": study.trials[0].distributions["method.lambda"]}
    running, failed = study.ask(space), study.ask(space)
    failed.set_user_attr("had.message", "the loss is not finite")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    found = report(NAME, store.uri)
    assert f"Trial t{failed.number:04d} failed: the loss is not finite" in found.troubles
    states = {t.number: t.state for t in found.sweep.result.trials}
    assert states[running.number] == "running"
    again = optuna.load_study(study_name=NAME, storage=url)
    assert again.trials[running.number].state.name == "RUNNING"
    assert not any(trial.user_attrs.get("had.interrupted") for trial in again.trials)


def test_the_report_of_a_sweep_without_trials_says_so(swept, tmp_path):
    shutil.copytree(swept.store.uri, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    (sweep_folder(store, NAME) / "study.db").unlink()
    found = report(NAME, store.uri)
    assert found.sweep is None
    assert [summary.method for summary in found.result.methods] == ["naive"]
    assert "0 of 2 settings are judged: had resume swept goes on." in found.troubles
    assert not (sweep_folder(store, NAME) / "study.db").exists()


def test_the_commands_of_a_report_are_filled_in(swept):
    made = report(NAME, swept.store.uri).made
    assert made.commands["continue"] == f"had resume {NAME}"
    assert not any("{" in command and "}" not in command for command in made.commands.values())
    (rerun,) = (c for c in made.commands.values() if c.startswith("had rerun "))
    (kind, _) = swept.store.resolve(rerun.split()[-1])
    assert kind is ArtifactKind.FIT
    assert made.facts["data set"].startswith("rooms: 8 test, 40 train images of 32x24")
    assert "torch" in made.facts["versions"]
