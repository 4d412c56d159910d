"""The MLflow UI over a tracking store, on this machine only.

MLflow's own server is started as a child process: bound to 127.0.0.1, one worker, without the
processes that run jobs (some ten of 250 MB each). The URI travels in the environment, so that
credentials in it do not show in the process list.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from had_core.errors import BadInput, HadError
from orchestrator.signals import interrupted_by
from orchestrator.tracking.background import close_dead_runs
from orchestrator.tracking.location import TrackingLocation, quiet_environment, redact
from orchestrator.tracking.mlflow_writer import PictureSource

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
_START_TIMEOUT = 120.0
# What SQLAlchemy adds to an error, on lines of its own.
_APPENDIX = re.compile(r"(?ms)^\[(SQL|parameters):.*?\]$|^\(Background on this error.*?\)$")


@dataclass
class UiServer:
    """A running MLflow server; ``stop`` it, or use it as a context manager."""

    url: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    @property
    def page(self) -> str:
        """The list of experiments, as MLflow shows it to people who train models."""
        return f"{self.url}/#/experiments?workflowType=machine_learning"

    def wait(self) -> int:
        """Until the server ends; its exit status."""
        return self.process.wait()

    def stop(self) -> None:
        """End the server and the workers it started; they share a process group."""
        for end, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        self.log.close()

    def last_words(self) -> str:
        """The last line that the server wrote; of a traceback that is the error."""
        self.log.seek(0)
        told = _APPENDIX.sub("", self.log.read().decode(errors="replace")).strip()
        return redact(told.splitlines()[-1].strip()[:500]) if told else "it said nothing"

    def __enter__(self) -> UiServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def serve(
    store_root: str | Path,
    tracking_uri: str | None = None,
    *,
    port: int = DEFAULT_PORT,
    open_browser: bool = False,
    pictures: PictureSource | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Show the UI until it is interrupted: close dead runs, start the server, print its address.

    A tracking URI that is a server already is only named (and opened).

    Raises:
        BadInput: the port is taken or is no port.
        HadError: the server does not come up.
    """
    location = TrackingLocation.of(store_root, tracking_uri)
    try:
        for run in close_dead_runs(store_root, location, pictures=pictures):
            say(f"Run '{run}' had lost its process; it is closed now.")
    except Exception as error:  # the UI is worth showing without it
        reason = redact(str(error).partition("\n")[0])
        say(f"MLflow cannot be brought up to date now ({reason}); the journal keeps everything.")
    if location.is_server:
        say(f"MLflow is at {location.shown}")
        if open_browser:
            webbrowser.open(location.uri)
        return
    with interrupted_by(signal.SIGTERM):
        try:
            with start(location, port) as server:
                say(f"MLflow UI: {server.page}  (Ctrl-C stops it)")
                if open_browser:
                    webbrowser.open(server.page)
                server.wait()
        except KeyboardInterrupt:
            say("MLflow UI stopped.")


def start(location: TrackingLocation, port: int = DEFAULT_PORT) -> UiServer:
    """Start the server and wait until it answers; ``port`` 0 takes a free one."""
    port = _usable_port(port)
    quiet_environment()
    location.prepare()
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--no-serve-artifacts"]
    log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the server)
    process = subprocess.Popen(
        command,
        env=_environment(location),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    server = UiServer(f"http://{HOST}:{port}", process, log)
    try:
        _await(server)
    except BaseException:
        server.stop()
        raise
    return server


def _environment(location: TrackingLocation) -> dict[str, str]:
    settings = {
        "MLFLOW_BACKEND_STORE_URI": location.uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if location.artifacts is not None:
        settings["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = location.artifacts
    return {**os.environ, **settings}


def _usable_port(port: int) -> int:
    """``port`` if it is free, any free one for 0."""
    if not 0 <= port <= 65535:
        raise BadInput(f"port={port} is not allowed: 0 (any free one) to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise BadInput(
                f"port={port} is not allowed: it is in use or reserved ({error.strerror}); name "
                "another one, or 0 for any free one"
            ) from None
        return int(probe.getsockname()[1])


def _await(server: UiServer) -> None:
    """Until the server answers; HadError if it ends or stays silent."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            status = server.process.returncode
            raise HadError(f"the MLflow server ended with status {status}: {server.last_words()}")
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise HadError(f"the MLflow server did not answer within {_START_TIMEOUT:.0f} s")
