"""Environment variables of Ray's processes, and the code they import.

Ray reads most of its settings from the environment, some of them when it is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the default makes every report cost 2 s
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
SHIPPED = "HAD_CODE_SHIPPED"  # set in a job, whose nodes import the code it was submitted with
PRIVATE_RAY = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}  # nobody preempts this machine


def private_environment(scratch: Path) -> dict[str, str]:
    """What every process of a private cluster inherits."""
    token = scratch / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    path = [*code_folders(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        # Ray then binds every port to 127.0.0.1; with it on, "127.0.0.1" means the outside address.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(scratch / "r"),
        # Workers talk to each other where Ray does, whatever the machine's name leads to.
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        **QUIET_RAY,
        **PRIVATE_RAY,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, path))),
    }


@contextlib.contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables for Ray and every process it starts."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    _reread_environment()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _reread_environment()


def _reread_environment() -> None:
    """Ray keeps what it read from the environment when it was imported, perhaps long ago."""
    from ray._private import ray_constants

    raylet: Any = importlib.import_module("ray._raylet")  # its stubs lack these names

    inside_only = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0"
    ray_constants.ENABLE_RAY_CLUSTER = not inside_only
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def code_folders() -> list[str]:
    """Absolute folders that a worker needs on its path to import this very code."""
    import had_core
    import orchestrator

    folders = [str(Path(file_of(package)).parents[1]) for package in (orchestrator, had_core)]
    return list(dict.fromkeys(folders))


def job_cluster() -> str | None:
    """What a job joins where its settings name no cluster: the one it runs on. None elsewhere.

    So the settings of a submitted run are those of the same run made at home.
    """
    return "auto" if os.environ.get(SHIPPED) else None


def file_of(package: Any) -> str:
    return str(Path(package.__file__).resolve())
