"""Importance as numbers, from studies in memory; a look at a study changes nothing."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from had_core.errors import BadInput
from orchestrator.search.importance import LEAST, importances
from orchestrator.search.study import look

SPACE = {"decides": FloatDistribution(0, 1), "idles": FloatDistribution(0, 1)}


def study(count: int, *directions: str):
    """Only ``decides`` does, for every objective."""
    made = optuna.create_study(directions=list(directions))
    for k in range(count):
        x = k / count
        params = {"decides": x, "idles": (7 * k % count) / count}
        values = [x if way == "maximize" else -x for way in directions]
        made.add_trial(create_trial(params=params, distributions=SPACE, values=values))
    return made


@pytest.mark.parametrize("directions", [("maximize",), ("minimize",), ("maximize", "minimize")])
def test_what_decides_has_the_larger_share(directions):
    made = study(40, *directions)
    for objective in range(len(directions)):
        shares = importances(made, objective)
        assert list(shares) == ["decides", "idles"]
        assert shares["decides"] > 2 * shares["idles"]
        assert sum(shares.values()) == pytest.approx(1)


def test_few_trials_tell_nothing():
    assert importances(study(LEAST - 1, "maximize")) == {}


def test_a_study_that_tells_nothing_is_left_out():
    made = optuna.create_study(direction="maximize")
    for _ in range(LEAST):  # without a parameter there is nothing to compare
        made.add_trial(create_trial(value=1.0))
    assert importances(made) == {}


def test_a_look_finds_what_is_there_and_makes_nothing(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert look(url, "one") is None
    assert not list(tmp_path.iterdir())
    optuna.create_study(storage=url, study_name="one").ask()
    assert look(url, "two") is None
    found = look(url, "one")
    assert [trial.state.name for trial in found.trials] == ["RUNNING"]


def test_a_storage_that_is_none_is_refused_without_its_password(tmp_path):
    file = tmp_path / "study.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match=r"search\.storage=sqlite.*study\.db cannot be opened"):
        look(f"sqlite:///{file}", "one")
    with pytest.raises(BadInput, match=r"nodialect://me:\*\*\*@host/db cannot be opened"):
        look("nodialect://me:secret@host/db", "one")
