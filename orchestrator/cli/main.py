"""Entry point of ``had``: one small file a command, put together here."""

from __future__ import annotations

import os
import sys
from gc import freeze
from typing import TextIO

import typer

from orchestrator.cli import (
    cluster,
    compare,
    data,
    doctor,
    explain,
    export,
    gc,
    jobs,
    plan,
    predict,
    register,
    report,
    rerun,
    resume,
    run,
    runs,
    show,
    submit,
    sweep,
    sync,
    ui,
)
from orchestrator.cli.failures import HadGroup

app = typer.Typer(
    name="had",
    cls=HadGroup,
    help="Lifelong heterogeneous learning: train a stage once, reuse it everywhere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run", short_help="Train what the settings describe, and nothing twice.")(run.run)
app.command("compare", short_help="Train several methods over equal orders and seeds.")(
    compare.compare
)
app.command("sweep", short_help="Search method settings across task orders.")(sweep.sweep)
app.command("resume", short_help="Continue a run, comparison or sweep by its name.")(resume.resume)
app.command("plan", short_help="Show what a run would train, without training.")(plan.plan)
app.command("rerun")(rerun.rerun)
app.command("runs", short_help="List runs, or the sequences and trials of one.")(runs.runs)
app.command("show", short_help="Show one stage: settings, metrics, relatives, files.")(show.show)
app.command("explain", short_help="Say why two stages have different keys.")(explain.explain)
app.command("predict", short_help="Run a stage's net on images.")(predict.predict)
app.command("export", short_help="Write a stage's net as files that need no store.")(export.export)
app.command("register", short_help="Put a stage's net into MLflow's registry.")(register.register)
app.command("report", short_help="Write a run, comparison or sweep as one page.")(report.report)
app.command("gc", short_help="List or delete the stages that no kept run needs.")(gc.gc)
app.command("sync")(sync.sync)
app.command("ui")(ui.ui)
app.command("submit", short_help="Execute a command on a Ray cluster and follow it.")(submit.submit)
app.command("jobs")(jobs.jobs)
app.command("logs")(jobs.logs)
app.command("stop", short_help="End a job cleanly; its progress is kept.")(jobs.stop)
app.add_typer(cluster.app, name="cluster")
app.add_typer(data.app, name="data")
app.command("doctor")(doctor.doctor)


def main() -> None:
    # Before torch is imported: threads that spin while they wait starve on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A shell that closed them (>&-) leaves None, which cannot be printed to.
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    try:
        app()
    finally:
        freeze()  # or its end would search the modules of torch and Ray for garbage: 1.5 s


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


if __name__ == "__main__":
    main()
