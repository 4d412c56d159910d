"""The commands that can also be submitted: what they are told, how they execute, what they print.

``had submit KIND`` composes here what a job is told; ``orchestrator.cli.job`` executes it there.
Another command joins by one more entry of ``KINDS``.
"""

from __future__ import annotations

import getpass
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from had_core.canonical import digest
from had_core.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.config import RunConfig
    from orchestrator.jobs.job import JobSpec


@dataclass(frozen=True)
class Asked:
    """What the command line says.

    Attributes:
        words: after the command.
        store: for a command that names no store in its settings.
        trials: ``--trials``, of a sweep.
        ancestors, descendants: of a rerun.
    """

    words: tuple[str, ...]
    store: str
    trials: str | None = None
    ancestors: bool = False
    descendants: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """As they were written."""
        flags = {"--ancestors": self.ancestors, "--descendants": self.descendants}
        trials = () if self.trials is None else ("--trials", self.trials)
        return (*trials, *(flag for flag, given in flags.items() if given))


class Kind(ABC):
    """One command."""

    name: str

    @abstractmethod
    def spec(self, asked: Asked) -> JobSpec:
        """What the job is told: everything is composed here, nothing there.

        Raises:
            BadInput: words that the command cannot take.
        """

    @abstractmethod
    def execute(self, payload: Mapping[str, Any], display: Any) -> Any:
        """The command itself; returns its result, which has ``to_json``."""

    @abstractmethod
    def show(self, result: Any, again: str) -> None:
        """Print the tables; ``again`` is the command line that continues."""

    @abstractmethod
    def exit_code(self, result: Any) -> int: ...

    def display(self, console: Console, silent: bool, clock: Callable[[], float]) -> Any:
        """Where a job of this kind shows, as the command itself would."""
        from orchestrator.display.live import make_display

        return make_display(console, silent=silent, clock=clock)


class _Composed(Kind):
    """A command that is told one composed configuration."""

    def spec(self, asked: Asked) -> JobSpec:
        config = placed(self.compose(asked.words))
        return job_spec(
            self.name, config.name, config.store.root, self.payload(config, asked), asked
        )

    def compose(self, words: Sequence[str]) -> RunConfig:
        from orchestrator.config import compose

        return compose(words)

    def payload(self, config: RunConfig, asked: Asked) -> dict[str, Any]:
        _refuse_options(asked)
        return {"config": config.to_json()}

    def execute(self, payload: Mapping[str, Any], display: Any) -> Any:
        from orchestrator.config import RunConfig

        return self.run(RunConfig.from_json(payload["config"]), display, payload)

    @abstractmethod
    def run(self, config: RunConfig, display: Any, payload: Mapping[str, Any]) -> Any:
        """Execute what was composed."""


class _Run(_Composed):
    name = "run"

    def compose(self, words: Sequence[str]) -> RunConfig:
        from orchestrator.cli.run import compose_run

        return compose_run(words)

    def run(self, config: RunConfig, display: Any, payload: Mapping[str, Any]) -> Any:
        from orchestrator.app.run import run

        return run(config, display)

    def show(self, result: Any, again: str) -> None:
        from orchestrator.cli.run import show

        show(result, again)

    def exit_code(self, result: Any) -> int:
        return 1 if result.failures else 0


class _Compare(_Composed):
    name = "compare"

    def compose(self, words: Sequence[str]) -> RunConfig:
        from orchestrator.cli.compare import compose_comparison

        return compose_comparison(words)

    def run(self, config: RunConfig, display: Any, payload: Mapping[str, Any]) -> Any:
        from orchestrator.app.compare import compare

        return compare(config, display)

    def show(self, result: Any, again: str) -> None:
        from orchestrator.cli.compare import show

        show(result, again)

    def exit_code(self, result: Any) -> int:
        return 1 if result.run.failures else 0


class _Sweep(_Composed):
    name = "sweep"

    def compose(self, words: Sequence[str]) -> RunConfig:
        from orchestrator.config import compose

        return compose(words, search="tpe")

    def payload(self, config: RunConfig, asked: Asked) -> dict[str, Any]:
        from orchestrator.cli.sweep import more_trials

        _refuse_options(asked, "--trials")
        return {"config": config.to_json(), "more": more_trials(asked.trials)}

    def run(self, config: RunConfig, display: Any, payload: Mapping[str, Any]) -> Any:
        from orchestrator.app.sweep import sweep

        return sweep(config, display, payload["more"])

    def show(self, result: Any, again: str) -> None:
        from orchestrator.cli.sweep import show

        show(result, again)

    def exit_code(self, result: Any) -> int:
        return 0 if result.best else 1

    def display(self, console: Console, silent: bool, clock: Callable[[], float]) -> Any:
        from orchestrator.display.sweep_live import make_sweep_display

        return make_sweep_display(console, silent=silent, clock=clock)


class _Rerun(Kind):
    """One stage; what it was trained with lies in the store, on the cluster."""

    name = "rerun"

    def spec(self, asked: Asked) -> JobSpec:
        from orchestrator.config import override_key

        _refuse_options(asked, "--ancestors", "--descendants")
        if not asked.words or "=" in asked.words[0]:
            raise BadInput("had submit rerun wants a stage first: the first digits of its key")
        stage, *overrides = asked.words
        for text in overrides:
            if override_key(text) in ("cluster", "cluster.address", "cluster.backend"):
                raise BadInput(f"{text} is not allowed in had submit: --address names the cluster")
        payload = {
            "stage": stage,
            "overrides": overrides,
            "store": asked.store,
            "ancestors": asked.ancestors,
            "descendants": asked.descendants,
        }
        said = [*overrides, *asked.options]
        title = f"{stage[:12]}-{digest(said)[:8]}" if said else stage[:12]
        return job_spec(self.name, title, asked.store, payload, asked)

    def execute(self, payload: Mapping[str, Any], display: Any) -> Any:
        from orchestrator.app.rerun import rerun
        from orchestrator.config import StoreConfig

        # Wherever the stage was trained, it is trained on this job's cluster now.
        placed = ("cluster.backend=ray", "cluster.address=null")
        overrides = [*payload["overrides"], *placed]
        return rerun(
            payload["stage"],
            StoreConfig(payload["store"]),
            overrides,
            display,
            ancestors=payload["ancestors"],
            descendants=payload["descendants"],
        )

    def show(self, result: Any, again: str) -> None:
        from orchestrator.cli.output import console
        from orchestrator.display.rerun_tables import rerun_tables

        console().print(rerun_tables(result))

    def exit_code(self, result: Any) -> int:
        return 0 if result.holds else 1


KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (_Run(), _Sweep(), _Compare(), _Rerun())}


def kind_of(name: str) -> Kind:
    """Raises BadInput for a command that cannot be submitted."""
    if name not in KINDS:
        raise BadInput(f"{name} cannot be submitted: one of {', '.join(KINDS)}")
    return KINDS[name]


def display_of(kind: str, console: Console, silent: bool, clock: Callable[[], float]) -> Any:
    """Where a job shows; one that ``had submit`` did not make shows as a run."""
    return KINDS.get(kind, KINDS["run"]).display(console, silent, clock)


def placed(config: RunConfig) -> RunConfig:
    """The configuration for a job, which joins the cluster it runs on.

    ``threads`` is decided here, because the cluster would decide it by its own CPUs: how many
    workers and threads a stage has must not depend on where it is trained.
    """
    from orchestrator.config import Backend

    cluster = config.cluster
    if cluster.backend is not Backend.RAY:
        raise BadInput(
            f"cluster.backend={cluster.backend.value} is not allowed in had submit: ray, whose "
            "lanes run on the cluster"
        )
    if cluster.address is not None:
        raise BadInput(
            f"cluster.address={cluster.address} is not allowed in had submit: --address names the "
            "cluster"
        )
    return replace(config, cluster=replace(cluster, threads=cluster.threads or 1))


def job_spec(kind: str, name: str, store: str, payload: Mapping[str, Any], asked: Asked) -> JobSpec:
    from orchestrator.jobs.job import JobSpec

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        user = ""
    return JobSpec(
        kind=kind,
        name=name,
        store=store,
        payload=payload,
        words=("submit", kind, *asked.words, *asked.options),
        python=platform.python_version(),
        user=user,
    )


def _refuse_options(asked: Asked, *allowed: str) -> None:
    kinds = {"--trials": "sweep", "--ancestors": "rerun", "--descendants": "rerun"}
    for option in asked.options:
        if option in kinds and option not in allowed:
            raise BadInput(f"{option} is not allowed: it is for had submit {kinds[option]}")
