"""Entry point of ``had``: one small file a command, put together here."""

from __future__ import annotations

import os
from gc import freeze

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

app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("sweep")(sweep.sweep)
app.command("resume")(resume.resume)
app.command("plan")(plan.plan)
app.command("rerun")(rerun.rerun)
app.command("runs")(runs.runs)
app.command("show")(show.show)
app.command("explain")(explain.explain)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("register")(register.register)
app.command("report")(report.report)
app.command("gc")(gc.gc)
app.command("sync")(sync.sync)
app.command("ui")(ui.ui)
app.command("submit")(submit.submit)
app.command("jobs")(jobs.jobs)
app.command("logs")(jobs.logs)
app.command("stop")(jobs.stop)
app.add_typer(cluster.app, name="cluster")
app.add_typer(data.app, name="data")
app.command("doctor")(doctor.doctor)


def main() -> None:
    # Before torch is imported: threads that spin while they wait starve on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    finally:
        freeze()  # or its end would search the modules of torch and Ray for garbage: 1.5 s


if __name__ == "__main__":
    main()
