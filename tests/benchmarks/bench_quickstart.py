"""What the quickstart spends besides training, and how fast the short commands answer.

    python tests/benchmarks/bench_quickstart.py [--json FILE] [--recipe quickstart]

(a) ``had sweep experiment=quickstart`` in a fresh store: the share of its wall time that goes into
    training and evaluation steps. Left out of the wall time: building ``rooms`` (done before), and
    starting Ray and a lane (from the journal's first entry to the first stage). What the stages
    spent is what their sealed manifests say: epochs, filling the teacher's cache, evaluations;
    divided by the number of lanes that work side by side. Goal: 90 %.
(b) ``had plan``: under 3 s. (c) ``had --help``: under 0.5 s.
(d) The journal: at most 10 ms of a stage's time (``bench_tracking.py`` has the long form).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, installed or not

from bench_tracking import journal_cost

from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store
from orchestrator.tracking.events import RunFinished, RunStarted, StageFinished, StageStarted
from orchestrator.tracking.journal import JournalReader

ROOT = Path(__file__).resolve().parents[2]
SHARE, PLAN_S, HELP_S, JOURNAL_MS = 0.90, 3.0, 0.5, 10.0


@dataclass(frozen=True)
class Budget:
    """Where the wall time of one run went, in seconds.

    Attributes:
        before: from the command's start to the journal's first entry.
        starting: from there to the first stage: Ray and the lanes.
        stages: from the first stage's start to the last stage's end; the steps are inside.
        results: from there to the journal's last entry: Ray's end, Delta_m and what it refers to.
        leaving: from there to the command's end: what MLflow had not heard yet, and the table.
        training, teacher, evaluation: spent in steps, summed over stages, a lane's share.
    """

    wall: float
    before: float
    starting: float
    stages: float
    results: float
    leaving: float
    training: float
    teacher: float
    evaluation: float

    @property
    def share(self) -> float:
        return (self.training + self.teacher + self.evaluation) / (self.wall - self.starting)


def had(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of this checkout, in a process of its own as a person starts it."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_budget(folder: Path, recipe: str) -> tuple[Budget, dict[str, Any]]:
    """Run the recipe over data that lies there already; its budget and its ``--json``."""
    recipe_words = [f"experiment={recipe}", f"store.root={folder}/store"]
    _build_data(folder, recipe_words)
    began = time.time()
    result = json.loads(had(_command(recipe_words), *recipe_words, "--json", folder=folder).stdout)
    wall = time.time() - began
    store = Store.open(folder / "store")
    events = JournalReader.open(store.uri, result["name"]).events()
    told = min(event.time for event in events if isinstance(event, RunStarted))
    first = min(event.time for event in events if isinstance(event, StageStarted))
    last = max(event.time for event in events if isinstance(event, StageFinished))
    closed = max(event.time for event in events if isinstance(event, RunFinished))
    config = next(event.config for event in events if isinstance(event, RunStarted))
    lanes = config["cluster"]["lanes"] or os.cpu_count() or 1
    fits = [store.manifest(ArtifactKind.FIT, key) or {} for key in store.keys(ArtifactKind.FIT)]
    rows = [store.manifest(ArtifactKind.EVAL, key) or {} for key in store.keys(ArtifactKind.EVAL)]
    budget = Budget(
        wall=wall,
        before=told - began,
        starting=first - told,
        stages=last - first,
        results=closed - last,
        leaving=began + wall - closed,
        training=sum(fit["seconds"] for fit in fits) / lanes,
        teacher=sum(fit["teacher_seconds"] for fit in fits) / lanes,
        evaluation=sum(row.get("seconds", 0.0) for row in rows) / lanes,
    )
    return budget, result


def _command(recipe_words: list[str]) -> str:
    from orchestrator.config import compose

    return "run" if compose(recipe_words).search is None else "sweep"


def _build_data(folder: Path, recipe_words: list[str]) -> None:
    """What the run would build: its settings are in the composed configuration."""
    from orchestrator.app.datasets import open_dataset
    from orchestrator.config import compose

    before = os.getcwd()
    os.chdir(folder)
    try:
        open_dataset(compose(recipe_words).dataset, lambda text: None)
    finally:
        os.chdir(before)


def seconds_of(*words: str, folder: Path, rounds: int = 5) -> float:
    """Median wall time of a command."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        had(*words, folder=folder)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measure(recipe: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-quickstart-") as name:
        folder = Path(name)
        budget, result = run_budget(folder, recipe)
        return {
            "budget": {**asdict(budget), "share": budget.share},
            "stages": result["stages_trained"],
            "plan_s": seconds_of("plan", f"experiment={recipe}", folder=folder),
            "help_s": seconds_of("--help", folder=folder),
            "journal": journal_cost(folder, epochs=20, seconds=0.05, repeats=15),
        }


def judge(found: dict[str, Any]) -> dict[str, bool]:
    return {
        "share of steps >= 90 %": found["budget"]["share"] >= SHARE,
        "had plan < 3 s": found["plan_s"] < PLAN_S,
        "had --help < 0.5 s": found["help_s"] < HELP_S,
        "journal <= 10 ms a stage": found["journal"]["median_ms"] <= JOURNAL_MS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--recipe", default="quickstart")
    options = parser.parse_args()
    found = measure(options.recipe)
    for part, seconds in found["budget"].items():
        print(f"  {part:<12}{seconds:8.3f}" + ("" if part == "share" else " s"))
    print(f"had plan {found['plan_s']:.2f} s, had --help {found['help_s']:.2f} s")
    print(f"journal {found['journal']['median_ms']:.2f} ms a stage")
    reached = judge(found)
    for goal, ok in reached.items():
        print(f"{goal}: {'reached' if ok else 'NOT REACHED'}")
    if options.json:
        options.json.write_text(json.dumps({**found, "reached": reached}, indent=1) + "\n")


if __name__ == "__main__":
    main()
