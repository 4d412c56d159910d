"""The command line over made-up applications: what is printed where, and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from had_core.data.rooms import TASKS
from had_core.errors import BadInput, HadError
from orchestrator.cli.main import app
from orchestrator.config import RunConfig, compose
from orchestrator.display.comparison import CompareResult
from orchestrator.display.results import (
    Check,
    PlanResult,
    RerunResult,
    RunResult,
    SequenceResult,
    StageFailure,
    StageResult,
    metrics_of,
)
from orchestrator.plan.numerics import NumericsClass

METRICS = metrics_of(TASKS[:2])
ROW = {task: {m.name: 0.5 for m in metrics} for task, metrics in METRICS.items()}
FAST = ("tasks=[semantic,depth]", "name=try")

Fake = Callable[..., None]


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("words", [[], ["data"], ["cluster"]])
def test_lists_of_commands_cut_no_sentence_off(words: list[str]) -> None:
    listed = call(*words, "--help").stdout.partition("Commands:")[2].splitlines()[1:]
    assert listed and not [line for line in listed if not line.endswith((".", ")."))]
    assert not [line for line in listed if "..." in line]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put functions in the place of an application module."""

    def put(module: str, **functions: Any) -> None:
        made = ModuleType(module)
        for name, function in functions.items():
            setattr(made, name, function)
        monkeypatch.setitem(sys.modules, module, made)

    return put


def a_result(config: RunConfig, *failures: StageFailure) -> RunResult:
    stages = tuple(StageResult("a" * 64, (t,), i + 1, i == 0) for i, t in enumerate(config.tasks))
    rows = ({"semantic": ROW["semantic"]}, ROW)
    sequence = SequenceResult("had", config.orders[0], 0, rows, stages, forgetting=0.25)
    return RunResult(
        config.name,
        config.recipe,
        METRICS,
        (sequence,),
        config.store.root,
        tracking_uri="sqlite:///db",
        stages_trained=1,
        stages_reused=1,
        failures=failures,
        seconds=9.0,
    )


def test_help_imports_nothing_heavy() -> None:
    """How fast it answers is measured in tests/benchmarks/bench_quickstart.py."""
    code = (
        "import sys\nsys.argv = ['had', '--help']\n"
        "from orchestrator.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'numpy', 'pyarrow', 'hydra', 'optuna', 'rich'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"imported: {done.stderr}"
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "compare",
        "resume",
        "plan",
        "rerun",
        "runs",
        "show",
        "explain",
        "gc",
        "sync",
        "ui",
        "data",
        "doctor",
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    done = call(command, "--help")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 5


def test_run_shows_tables_and_where_things_lie(fake: Fake, tmp_path: Path) -> None:
    fake("orchestrator.app.run", run=lambda config, display: a_result(config))
    done = call("run", *FAST, f"store.root={tmp_path}")
    assert done.exit_code == 0, done.output
    for text in ("had: semantic → depth, seed 0", "25.0 %", "1 trained, 1 reused", str(tmp_path)):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///{store}/mlflow/mlflow.db", "ui --store {store}"),
        ("sqlite:////else/db", "ui --tracking-uri sqlite:////else/db --store {store}"),
        ("http://host:5000", "see it    http://host:5000"),
    ],
)
def test_run_says_how_to_open_what_it_tracked(
    fake: Fake, tmp_path: Path, uri: str, shown: str
) -> None:
    def run(config: RunConfig, display: Any) -> RunResult:
        return replace(a_result(config), tracking_uri=uri.format(store=tmp_path))

    fake("orchestrator.app.run", run=run)
    done = call("run", *FAST, f"store.root={tmp_path}")
    assert shown.format(store=tmp_path) in done.stdout


def test_run_json_is_the_only_thing_on_stdout(fake: Fake) -> None:
    def run(config: RunConfig, display: Any) -> RunResult:
        display.note("building")
        return a_result(config)

    fake("orchestrator.app.run", run=run)
    done = call("run", *FAST, "--json")
    shown = json.loads(done.stdout)
    assert shown["name"] == "try"
    assert shown["sequences"][0]["r_matrix"][1]["depth"]["abs_err"] == 0.5
    assert "building" in done.stderr


def test_a_failed_stage_is_told_and_is_exit_code_1(fake: Fake) -> None:
    failure = StageFailure("b" * 64, "had", ("depth",), "loss term 'new/depth' is not finite")
    fake("orchestrator.app.run", run=lambda config, display: a_result(config, failure))
    done = call("run", *FAST)
    assert done.exit_code == 1
    assert "loss term 'new/depth' is not finite" in done.stdout
    assert "resume try" in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadInput("train.epochs=0 is not allowed:\n1 or more"), 2, "train.epochs=0 is not allowed"),
        (HadError("the store is in use"), 1, "the store is in use"),
        (KeyboardInterrupt(), 130, "continue with: had resume try"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    fake: Fake, error: BaseException, code: int, said: str
) -> None:
    def run(config: RunConfig, display: Any) -> RunResult:
        raise error

    fake("orchestrator.app.run", run=run)
    done = call("run", *FAST)
    assert done.exit_code == code
    assert done.stderr.startswith("had: ")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_sigterm_stops_a_command_as_ctrl_c_does(fake: Fake) -> None:
    """Docker, systemd and Slurm send it."""
    before = signal.getsignal(signal.SIGTERM)

    def run(config: RunConfig, display: Any) -> RunResult:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("not interrupted")

    fake("orchestrator.app.run", run=run)
    done = call("run", *FAST)
    assert (done.exit_code, "continue with: had resume try" in done.stderr) == (130, True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_program_error_is_not_hidden(fake: Fake) -> None:
    def run(config: RunConfig, display: Any) -> RunResult:
        raise ZeroDivisionError

    fake("orchestrator.app.run", run=run)
    assert isinstance(call("run", *FAST).exception, ZeroDivisionError)


def test_bad_settings_start_nothing(fake: Fake) -> None:
    started: list[RunConfig] = []
    fake("orchestrator.app.run", run=lambda config, display: started.append(config))
    done = call("run", "order=[depth,depth]")
    assert (done.exit_code, started) == (2, [])
    assert "names the task 'depth' twice" in done.stderr


def test_resume_uses_the_recorded_settings(fake: Fake, tmp_path: Path) -> None:
    recorded, seen = compose(FAST), []

    def run(config: RunConfig, display: Any) -> RunResult:
        seen.append(config)
        return a_result(config)

    asked: list[tuple[str, str]] = []

    def find(store: str, name: str) -> RunConfig:
        asked.append((store, name))
        return recorded

    fake("orchestrator.app.run", run=run, recorded=find)
    assert call("resume", "try", "--store", str(tmp_path)).exit_code == 0
    assert asked == [(str(tmp_path), "try")]
    assert seen == [recorded]
    assert call("resume", "try", "cluster.lanes=2").exit_code == 0
    assert seen[1].cluster.lanes == 2
    for overrides, said in (
        (
            ["train.epochs=9"],
            "'try' was started with other settings (train.epochs=9 in",
        ),
        (["dataset.name=other"], "(dataset.name=other instead of rooms)"),
        (["name=new"], "name cannot be changed here: allowed are cluster"),
        (["--fork"], "nothing that decides results differs from try"),
        (["cluster.lanes=3", "--fork"], "nothing that decides results differs from try"),
        (["dataset.path=/typo"], "dataset.path=/typo does not exist: name the folder that the"),
        (["dataset.path=/typo", "seed=1", "--fork"], "dataset.path=/typo does not exist: name"),
    ):
        done = call("resume", "try", *overrides)
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr
    assert len(seen) == 2
    call("resume", "try", f"dataset.path={tmp_path}")
    other = ("dataset.path=/new", "dataset.build.train=9", "--fork")
    assert call("resume", "try", *other).exit_code == 0, "a fork may build a data set of its own"
    assert [config.dataset.path for config in seen[2:]] == [str(tmp_path), "/new"]


def test_a_fork_is_another_run_and_says_its_name(fake: Fake) -> None:
    recorded, seen = compose(FAST), []

    def run(config: RunConfig, display: Any) -> RunResult:
        seen.append(config)
        return a_result(config)

    fake("orchestrator.app.run", run=run, recorded=lambda store, name: recorded)
    done = call("resume", "try", "train.epochs=9", "seed=[1,2]", "--fork", "--json")
    assert done.exit_code == 0, done.output
    (config,) = seen
    assert (config.train.epochs, config.seeds) == (9, (1, 2))
    assert config.name == f"try-{config.hash[:8]}"
    assert json.loads(done.stdout)["name"] == config.name
    said = "train.epochs=9 instead of 10; seed=[1,2] instead of [0]"
    assert f"{config.name}: try with {said}" in done.stderr


COMPARED = (*FAST, "methods=[naive,had]")


def a_comparison(config: RunConfig, *failures: StageFailure) -> CompareResult:
    run = a_result(config, *failures)
    naive = replace(run.sequences[0], method="naive")
    return CompareResult(replace(run, sequences=(naive, *run.sequences), reference="naive"))


def test_compare_shows_tables_and_how_to_go_on(fake: Fake) -> None:
    seen: list[RunConfig] = []

    def compare(config: RunConfig, display: Any) -> CompareResult:
        seen.append(config)
        return a_comparison(config)

    fake("orchestrator.app.compare", compare=compare)
    done = call("compare", *COMPARED)
    assert done.exit_code == 0, done.output
    assert list(seen[0].compared) == ["naive", "had"]
    for text in ("summary", "over 1 order x 1 seed", "compare   try", "1 trained, 1 reused"):
        assert text in done.stdout
    shown = json.loads(call("compare", *COMPARED, "--json").stdout)
    assert [method["method"] for method in shown["methods"]] == ["naive", "had"]
    failure = StageFailure("b" * 64, "had", ("depth",), "not finite")
    fake("orchestrator.app.compare", compare=lambda config, display: a_comparison(config, failure))
    done = call("compare", *COMPARED)
    assert done.exit_code == 1
    assert "resume try" in done.stdout


def test_runs_and_comparisons_are_not_mixed_up(fake: Fake) -> None:
    fake("orchestrator.app.compare")
    fake("orchestrator.app.run")
    done = call("compare", *FAST)
    assert done.exit_code == 2
    assert "methods=null is not allowed in a comparison" in done.stderr
    done = call("run", *COMPARED)
    assert done.exit_code == 2
    assert "methods=[naive,had] is not allowed in a run of one method: had compare" in done.stderr


def test_resume_continues_a_comparison(fake: Fake) -> None:
    recorded, seen = compose(COMPARED), []

    def compare(config: RunConfig, display: Any) -> CompareResult:
        seen.append(config)
        return a_comparison(config)

    fake("orchestrator.app.run", recorded=lambda store, name: recorded)
    fake("orchestrator.app.compare", compare=compare)
    assert call("resume", "try").exit_code == 0
    assert seen == [recorded]


PLAN = {
    "rows": [
        {
            "stage": "naive: depth",
            "position": 1,
            "tasks": ["depth"],
            "key": "c" * 64,
            "parent": None,
            "cached": cached,
            "to_evaluate": to_evaluate,
            "sequences": 2,
        }
        for cached, to_evaluate in ((True, []), (True, ["test"]), (False, ["test"]))
    ],
    "sequences": 2,
    "stages_wanted": 4,
    "unique": 3,
    "cached": 2,
    "to_train": 1,
    "to_evaluate": 2,
}


def test_plan(fake: Fake) -> None:
    fake(
        "orchestrator.app.plan",
        plan=lambda config, note: PlanResult(config.name, config.recipe, "/s", PLAN),
    )
    done = call("plan", *FAST)
    states = [line.split()[4] for line in done.stdout.splitlines() if "cccccccccccc" in line]
    assert states == ["cached", "evaluate", "train"]
    assert "stages wanted: 4, different: 3 (sharing saves 1); 2 cached" in done.stdout
    shown = json.loads(call("plan", *FAST, "--json").stdout)
    assert shown == {"name": "try", "recipe": "rooms", "store": "/s", **PLAN}


@pytest.mark.parametrize(
    ("reproduced", "same_numerics", "code", "text"),
    [
        (True, True, 0, "reproduced: the weights are the same bit for bit"),
        (False, True, 1, "NOT reproduced"),
        (False, False, 0, "not bit for bit: sealed with threads=1, rerun with threads=2"),
        (None, None, 0, "a new stage beside"),
    ],
)
def test_rerun(
    fake: Fake, reproduced: bool | None, same_numerics: bool | None, code: int, text: str
) -> None:
    result = RerunResult(
        key="a" * 64,
        new_key="b" * 64,
        tasks=("depth",),
        metrics=METRICS,
        row=ROW,
        store="/s",
        reproduced=reproduced,
        difference=float("inf") if reproduced is False else None,
        first_difference="heads.depth.bias" if reproduced is False else None,
        distance=None if reproduced is None else 0.01,
        tolerance=None if same_numerics is False else 0.0,
        checks=(Check("weights", 0.01, 0.05, "after 4 steps"),) if same_numerics is False else (),
        same_numerics=same_numerics,
        rerun_in=NumericsClass(1, 2, "cpu", "2", "AVX2"),
        sealed_in=NumericsClass(1, 1, "cpu", "2", "AVX2"),
        bitwise_with=("cluster.workers=1", "cluster.threads=1"),
        sealed_row=ROW if reproduced is not None else None,
    )
    fake("orchestrator.app.rerun", rerun=lambda *asked, **more: result)
    done = call("rerun", "aaaa")
    assert (done.exit_code, text in done.stdout) == (code, True)
    assert ("heads.depth.bias, by shape or type" in done.stdout) is (reproduced is False)
    bitwise = f"had rerun {'a' * 12} cluster.workers=1 cluster.threads=1"
    assert (bitwise in done.stdout) is (same_numerics is False)
    shown = json.loads(call("rerun", "aaaa", "--json").stdout)
    assert (shown["new_key"], shown["difference"]) == ("b" * 64, None)
