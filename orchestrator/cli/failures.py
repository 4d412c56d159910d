"""How a command ends when it cannot do what it was asked.

====  =======================================================================
code  meaning
====  =======================================================================
0     done
1     failed: a stage diverged, a check found something, a program error
2     the input cannot be used; one sentence on stderr says what is allowed
130   interrupted; what was finished is kept
====  =======================================================================
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from had_core.errors import BadInput, HadError
from orchestrator.signals import interrupted_by

# What a path leads to, and not what is done with it. A file that is not there is none of them:
# whoever reads one says what it is for.
_REFUSED = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


class Interrupted(Exception):
    """Control-C during a command; the message says how to continue."""


class HadGroup(TyperGroup):
    """Turns errors that a person can act on into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            _require_working_folder()
            with interrupted_by(signal.SIGTERM):  # of docker, systemd and Slurm: as Ctrl-C
                return super().invoke(ctx)
        except (HadError, Interrupted, KeyboardInterrupt) as error:
            raise typer.Exit(tell(error)) from error
        except OSError as error:
            code = tell_refused(error)
            if code is None:
                raise
            raise typer.Exit(code) from error


def _require_working_folder() -> None:
    """Relative paths, Ray and Hydra mean nothing in a folder that was deleted meanwhile."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadInput("the current folder was deleted: change to one that exists") from None


def tell(error: BaseException) -> int:
    """Say on stderr how the command ended; its exit code."""
    if isinstance(error, HadError):
        _say(str(error))
        return 2 if isinstance(error, BadInput) else 1
    _say(str(error) or "interrupted")
    return 130


def tell_refused(error: OSError) -> int | None:
    """Say what the system did not let a person have; None, unsaid, for what may be our fault."""
    path = error.filename
    if error.errno == errno.ENOSPC and path is None:
        _say(f"the output cannot be written: {error.strerror}")
        return 1
    if error.errno == errno.ENAMETOOLONG:
        shown, length = str(path)[:40], len(str(path))
        _say(f"'{shown}...' of {length} characters is no path: file name too long")
        return 2
    if error.errno in _REFUSED and isinstance(path, str):
        _say(f"'{path}': {error.strerror}")
        return 2
    return None


@contextmanager
def continued_by(command: str) -> Iterator[None]:
    """Control-C inside names the command that goes on from there."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted; every finished epoch is kept, continue with: {command}"
        ) from error


def _say(text: str) -> None:
    print(f"had: {' '.join(text.split())}", file=sys.stderr, flush=True)
