"""What a job's command executes: ``python -m orchestrator.cli.job`` in the folder that was shipped.

It is told everything by ``job.json``, shows itself through lines in its log (``jobs.wire``), and
ends with the exit code that the command would have had at home. ``had stop`` sends it SIGINT, which
ends it as Ctrl-C ends a command: running stages finish their epoch, no run is left RUNNING.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

from had_core.errors import HadError
from orchestrator.cli.failures import Interrupted, continued_by, tell, tell_refused
from orchestrator.cli.kinds import kind_of
from orchestrator.jobs.shipping import read_spec
from orchestrator.jobs.wire import WireDisplay


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray's processes have it shut off
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        return execute(Path.cwd())
    except (HadError, Interrupted, KeyboardInterrupt) as error:
        return tell(error)
    except OSError as error:
        code = tell_refused(error)
        if code is None:
            raise
        return code


def execute(folder: Path) -> int:
    """The command that this folder was shipped for; its exit code."""
    spec = read_spec(folder)
    kind = kind_of(spec.kind)
    sys.argv = ["had", *spec.words]  # what records call the command
    if spec.user:
        os.environ["LOGNAME"] = spec.user
    again = shlex.join(["had", *spec.words])
    display = WireDisplay(sys.stdout)
    with continued_by(again):
        result = kind.execute(spec.payload, display)
    display.result(result.to_json())
    kind.show(result, again)
    return kind.exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
