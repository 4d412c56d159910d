"""The study as the only state: distinct settings, kills at any point, extension, grids."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from had_core.errors import BadInput
from orchestrator.search.settings import (
    Choice,
    FloatRange,
    IntRange,
    Objective,
    Params,
    Pruner,
    Sampler,
    SearchConfig,
)
from orchestrator.search.space import distributions, identity, points
from orchestrator.search.study import (
    INTERRUPTED,
    best,
    distinct_parameters,
    open_study,
    reconcile,
    remaining,
    require_storage,
)

SMOOTH = {"method.lambda": FloatRange(0.1, 30.0, log=True), "train.epochs": IntRange(1, 9)}
FINITE = {
    "method.lambda": Choice((0.5, 1, 3.0)),
    "method.loss.delta": FloatRange(0.2, 0.6, step=0.2),
    "method.loss.mean": Choice(("geometric",)),
}


def search(**changes: object) -> SearchConfig:
    defaults = SearchConfig(trials=6, space=SMOOTH, sampler=Sampler.TPE)
    return replace(defaults, **changes)  # type: ignore[arg-type]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sweeps/toy/study.db"


def ask(study: Study, settings: SearchConfig) -> optuna.Trial:
    return study.ask(distributions(settings.space))


def value_of(params: Params) -> float:
    weight = params["method.lambda"]
    assert isinstance(weight, (int, float))
    return -((math.log(weight) - 1) ** 2)


def run(study: Study, settings: SearchConfig, count: int) -> list[Params]:
    asked: list[Params] = []
    for _ in range(count):
        trial = ask(study, settings)
        asked.append(trial.params)
        study.tell(trial, value_of(trial.params))
    return asked


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_sweep_ends_with_as_many_settings_as_trials(url: str) -> None:
    settings = search()
    study = open_study(settings, url, "toy")
    assert remaining(study, settings) == 6
    run(study, settings, 6)
    assert remaining(study, settings) == 0
    assert len(distinct_parameters(study)) == 6


def test_a_kill_between_ask_and_tell_costs_no_setting(url: str) -> None:
    """Zombies are told FAIL and their settings come again, once, before new ones."""
    settings = search()
    study = open_study(settings, url, "toy")
    run(study, settings, 2)
    lost = [ask(study, settings).params for _ in range(2)]
    again = open_study(settings, url, "toy")
    assert states(again) == ["COMPLETE"] * 2 + ["FAIL"] * 2 + ["WAITING"] * 2
    assert [t.number for t in again.trials if t.user_attrs.get(INTERRUPTED)] == [2, 3]
    assert remaining(again, settings) == 4
    assert run(again, settings, 4)[:2] == lost
    assert remaining(again, settings) == 0
    assert len(distinct_parameters(again)) == 6
    assert TrialState.RUNNING not in {trial.state for trial in again.trials}


def test_a_kill_inside_reconcile_is_repaired_by_the_next(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = search()
    study = open_study(settings, url, "toy")
    lost = ask(study, settings).params

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            reconcile(study)
    assert states(study) == ["RUNNING", "WAITING"]
    assert reconcile(study) == 1
    assert states(study) == ["FAIL", "WAITING"]
    assert ask(study, settings).params == lost


def test_a_kill_inside_ask_leaves_a_trial_without_parameters(url: str) -> None:
    settings = search()
    study = open_study(settings, url, "toy")
    study.ask()  # the parameters had not been written
    study.ask({"method.lambda": distributions(SMOOTH)["method.lambda"]})  # one of two had
    half = study.trials[1].params
    assert reconcile(study) == 2
    assert states(study) == ["FAIL", "FAIL", "WAITING"]
    (first, *_) = run(study, settings, 6)
    assert first["method.lambda"] == half["method.lambda"]
    assert len(distinct_parameters(study)) == 6


def test_a_kill_inside_ask_of_an_enqueued_setting_keeps_it(url: str) -> None:
    settings = search(sampler=Sampler.GRID, space=FINITE, trials=9)
    study = open_study(settings, url, "toy")
    study.ask()  # popped, and killed before a parameter was written
    study = open_study(settings, url, "toy")
    assert remaining(study, settings) == 9
    asked = run(study, settings, 9)
    assert {identity(p) for p in asked} == {identity(p) for p in points(FINITE)}


def test_a_setting_that_failed_by_itself_is_done(url: str) -> None:
    settings = search()
    study = open_study(settings, url, "toy")
    study.tell(ask(study, settings), state=TrialState.FAIL)
    study.tell(ask(study, settings), state=TrialState.PRUNED)
    study = open_study(settings, url, "toy")
    assert states(study) == ["FAIL", "PRUNED"]
    assert remaining(study, settings) == 4


def test_more_trials_extend_a_finished_sweep(url: str) -> None:
    settings = search()
    first = run(open_study(settings, url, "toy"), settings, 6)
    longer = replace(settings, trials=9)
    study = open_study(longer, url, "toy")
    assert remaining(study, longer) == 3
    more = run(study, longer, 3)
    assert not {identity(p) for p in more} & {identity(p) for p in first}
    assert remaining(study, replace(settings, trials=2)) == 0


def test_a_grid_is_all_points_once_in_every_life(url: str) -> None:
    settings = search(sampler=Sampler.GRID, space=FINITE, trials=9)
    wanted = {identity(point) for point in points(FINITE)}
    assert len(wanted) == 9
    study = open_study(settings, url, "toy")
    assert states(study) == ["WAITING"] * 9
    asked = run(study, settings, 4)
    ask(study, settings)
    study = open_study(settings, url, "toy")
    asked += run(study, settings, remaining(study, settings))
    assert [identity(p) for p in asked[:4]] == [identity(p) for p in list(points(FINITE))[:4]]
    assert sorted(identity(p) for p in asked) == sorted(wanted)
    assert states(open_study(settings, url, "toy")).count("WAITING") == 0


def test_a_grid_that_was_half_enqueued_is_completed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = search(sampler=Sampler.GRID, space=FINITE, trials=9)
    count = itertools.count()
    enqueue = Study.enqueue_trial

    def killed(self: Study, params: dict[str, object]) -> None:
        if next(count) == 4:
            raise KeyboardInterrupt
        enqueue(self, params)

    with monkeypatch.context() as patch:
        patch.setattr(Study, "enqueue_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            open_study(settings, url, "toy")
    study = open_study(settings, url, "toy")
    assert states(study) == ["WAITING"] * 9


@pytest.mark.parametrize("kind", [Sampler.TPE, Sampler.RANDOM, Sampler.NSGA2])
def test_a_finite_space_is_exhausted_without_a_repetition(kind: Sampler) -> None:
    settings = search(sampler=kind, space=FINITE, trials=9)
    study = open_study(settings, "sqlite:///:memory:", "toy")
    asked = run(study, settings, 9)
    assert {identity(p) for p in asked} == {identity(p) for p in points(FINITE)}
    assert len(distinct_parameters(study)) == 9


def test_a_continued_sweep_asks_for_other_settings_than_a_new_one(tmp_path: Path) -> None:
    """A sampler with the seed alone would ask for the first settings again."""
    settings = search(sampler=Sampler.RANDOM)
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in "ab"]
    one, two = (open_study(settings, url, "toy") for url in urls)
    first = run(one, settings, 3)
    assert run(two, settings, 3) == first
    assert not set(map(identity, run(open_study(settings, urls[0], "toy"), settings, 3))) & set(
        map(identity, first)
    )


def test_best() -> None:
    settings = search()
    study = open_study(settings, "sqlite:///:memory:", "toy")
    assert best(study) == ()
    asked = run(study, settings, 5)
    (found,) = best(study)
    assert found.values == (max(value_of(p) for p in asked),)
    assert found.params == asked[found.number]
    assert found.label == f"t000{found.number}"


def test_with_two_objectives_the_best_are_those_that_no_other_beats() -> None:
    settings = search(objective=Objective.FINAL_AND_FORGETTING, sampler=Sampler.NSGA2)
    study = open_study(settings, "sqlite:///:memory:", "toy")
    for values in ([1.0, 0.5], [2.0, 0.6], [0.5, 0.7]):
        study.tell(ask(study, settings), values)
    assert sorted(found.values for found in best(study)) == [(1.0, 0.5), (2.0, 0.6)]


@pytest.mark.parametrize(
    ("pruner", "kind"),
    [
        (Pruner.NONE, optuna.pruners.NopPruner),
        (Pruner.MEDIAN, optuna.pruners.MedianPruner),
        (Pruner.PERCENTILE, optuna.pruners.PercentilePruner),
        (Pruner.HALVING, optuna.pruners.SuccessiveHalvingPruner),
    ],
)
def test_pruners(pruner: Pruner, kind: type) -> None:
    study = open_study(search(pruner=pruner), "sqlite:///:memory:", "toy")
    assert type(study.pruner) is kind


def test_pruning_begins_after_the_orders_that_every_trial_may_finish() -> None:
    settings = search(pruner=Pruner.MEDIAN, pruner_startup_trials=1, pruner_warmup_orders=2)
    study = open_study(settings, "sqlite:///:memory:", "toy")
    good, bad = ask(study, settings), ask(study, settings)
    for step in (1, 2, 3):
        good.report(1.0, step)
    study.tell(good, 1.0)
    pruned = []
    for step in (1, 2):
        bad.report(0.0, step)
        pruned.append(bad.should_prune())
    assert pruned == [False, True]


def test_other_settings_do_not_continue_a_sweep(url: str) -> None:
    settings = search()
    open_study(settings, url, "toy")
    open_study(replace(settings, max_concurrent=1, trials=3), url, "toy")
    with pytest.raises(BadInput, match=r"search\.seed differs from what sweep 'toy' was begun"):
        open_study(replace(settings, seed=5), url, "toy")
    other = {"method.lambda": FloatRange(0.1, 40.0, log=True)}
    with pytest.raises(BadInput, match=r"search\.space differs"):
        open_study(replace(settings, space=other), url, "toy")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "search.storage=nonsense cannot be opened: "),
        ("postgresql://me:secret@nowhere.invalid/db", "search.storage=postgresql://me:***@nowhere"),
    ],
)
def test_a_storage_that_cannot_be_opened(url: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_study(search(), url, "toy")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["foo", "foo://x", "postgresql://me:secret@db:notaport/x", "sqlite+nodriver:///x.db"],
)
def test_a_storage_that_can_never_be_one(url: str) -> None:
    with pytest.raises(BadInput, match=r"search\.storage=.* cannot be opened: .") as caught:
        require_storage(url)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_damaged_file_is_no_storage(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database at all, and long enough to be read as one")
    url = f"sqlite:///{tmp_path}/study.db"
    with pytest.raises(BadInput, match=r"study\.db cannot be opened"):
        open_study(search(), url, "toy")
    with pytest.raises(BadInput, match=r"search\.storage=.*/study\.db is no sqlite database"):
        require_storage(url)
    require_storage(f"{url}.new")
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_optuna_s_own_tools_open_it(url: str) -> None:
    """Plain storage: what optuna-dashboard reads."""
    settings = search()
    run(open_study(settings, url, "toy"), settings, 2)
    (summary,) = optuna.get_all_study_summaries(url)
    assert (summary.study_name, summary.n_trials) == ("toy", 2)
    plain = optuna.load_study(study_name="toy", storage=url)
    assert [t.params for t in plain.trials] and plain.trials[0].state is TrialState.COMPLETE


def test_no_message_on_the_way(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    settings = search()
    run(open_study(settings, url, "toy"), settings, 1)
    assert capfd.readouterr() == ("", "")
