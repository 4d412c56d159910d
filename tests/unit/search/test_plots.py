"""The page of plots: whole, alone, the same for the same study."""

from __future__ import annotations

import importlib
import re
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.study import Study
from optuna.trial import Trial

from orchestrator.search import plots
from orchestrator.search.plots import plots_page


def _study(trials: int, directions: tuple[str, ...] = ("maximize",)) -> Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def judge(trial: Trial) -> tuple[float, ...]:
        weight = trial.suggest_float("method.lambda", 0.1, 30, log=True)
        beta = trial.suggest_float("method.loss.beta", 0, 1)
        if len(directions) == 1:
            for order in range(1, 4):
                trial.report(order - abs(weight - 3), order)
        return (-abs(weight - 3) + beta, weight)[: len(directions)]

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="s", directions=list(directions), sampler=sampler)
    study.optimize(judge, n_trials=trials)
    return study


def _headings(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


@pytest.fixture(scope="module")
def page() -> str:
    page = plots_page(_study(8), ["mean_delta_m_pct"], "demo")
    assert page is not None
    return page


def test_one_objective(page: str) -> None:
    assert _headings(page) == [
        "History",
        "Importance",
        "Each parameter",
        "All parameters together",
        "Values over the orders",
    ]
    assert page.count('class="plotly-graph-div"') == 5
    assert "method.lambda" in page
    assert "mean_delta_m_pct" in page
    assert "Trials: 8 complete." in page


def test_it_needs_nothing_from_elsewhere(page: str) -> None:
    assert "<script src" not in page
    assert "<link" not in page
    assert "plotly.js v" in page


def test_equal_studies_give_equal_pages(page: str) -> None:
    assert plots_page(_study(8), ["mean_delta_m_pct"], "demo") == page
    assert plots_page(_study(9), ["mean_delta_m_pct"], "demo") != page


def test_two_objectives() -> None:
    study = _study(6, ("maximize", "minimize"))
    page = plots_page(study, ["delta_m_pct", "forgetting"], "demo")
    assert page is not None
    assert _headings(page)[:3] == [
        "Pareto front",
        "History of delta_m_pct",
        "Importance of delta_m_pct",
    ]
    assert page.count('class="plotly-graph-div"') == 9


def test_too_little_to_show() -> None:
    assert plots_page(_study(1), ["mean"], "demo") is None
    assert plots_page(_study(0), ["mean"], "demo") is None


def test_a_plot_that_cannot_be_drawn_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(optuna.visualization, "plot_slice", broken)
    page = plots_page(_study(4), ["mean"], "demo")
    assert page is not None
    assert "Each parameter" not in _headings(page)
    assert len(_headings(page)) == 4
    assert "no such luck" in caplog.text


def test_a_plot_that_has_no_html_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    section = plots._section

    def broken(heading: str, text: str, figure: object) -> str:
        if heading == "History":
            raise AttributeError("no such luck")
        return section(heading, text, figure)

    monkeypatch.setattr(plots, "_section", broken)
    page = plots_page(_study(4), ["mean"], "demo")
    assert page is not None
    assert "History" not in _headings(page) and len(_headings(page)) == 4


def test_what_another_thread_is_importing_is_whole_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Plotly takes pandas from sys.modules as it is, and MLflow's writer imports it meanwhile."""
    body = "import time\nbegun = True\ntime.sleep(0.2)\nwhole = True\n"
    (tmp_path / "slow_library.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plots, "_LOOKED_UP", ("slow_library", "there_is_none"))
    seen: list[bool] = []

    def section(heading: str, text: str, figure: object) -> str:
        seen.append(hasattr(sys.modules["slow_library"], "whole"))
        return ""

    monkeypatch.setattr(plots, "_section", section)
    study = _study(2)
    writer = threading.Thread(target=importlib.import_module, args=("slow_library",))
    writer.start()
    while not hasattr(sys.modules.get("slow_library"), "begun"):
        time.sleep(0.001)
    assert plots_page(study, ["mean"], "demo") is not None
    writer.join()
    assert seen and all(seen)


def test_names_are_text_not_markup() -> None:
    page = plots_page(_study(3), ["mean"], "<b>")
    assert page is not None
    assert "<title>&lt;b&gt;</title>" in page
    assert "<h1>&lt;b&gt;</h1>" in page


def test_a_study_of_one_value_is_drawn() -> None:
    """Every trial came out equal: importance has nothing to say, the rest is there."""
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda t: 0.0 * t.suggest_float("x", 0, 1), n_trials=3)
    page = plots_page(study, ["mean"], "demo")
    assert page is not None
    assert "History" in _headings(page)
