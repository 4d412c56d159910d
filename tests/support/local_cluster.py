"""``had`` as a program against a real local cluster, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.jobs.local.processes import of_cluster
from orchestrator.jobs.local.state import LocalCluster, read_state

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 480
_AGENTS_PORT = 52365  # where the job agent of every head node listens, unless it is told otherwise


@dataclass(frozen=True)
class Had:
    """The command line in processes of its own, from a folder that has nothing to do with it."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **environment)
        try:
            out, err = process.communicate(timeout=_PATIENCE_S)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "HAD_"))}
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *words],
            cwd=self.folder,
            env={
                **inherited,
                "PYTHONPATH": str(ROOT),
                "HAD_CLUSTER_STATE": str(self.state),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def local_cluster(folder: Path, nodes: int) -> Iterator[tuple[Had, LocalCluster]]:
    """Up beside another Ray cluster of this machine, and down again with nothing left of it."""
    had = Had(folder)
    with socket.socket() as others:
        with suppress(OSError):  # taken by a real one
            others.bind(("127.0.0.1", _AGENTS_PORT))
            others.listen()
        done = had("cluster", "up", "--local", str(nodes), "--port", "0")
    assert done.returncode == 0, done.stderr
    cluster = read_state(had.state)
    assert cluster is not None
    try:
        yield had, cluster
    finally:
        processes = of_cluster(cluster.id)
        done = had("cluster", "down")
    assert done.returncode == 0, done.stderr
    assert len(processes) > 10
    assert not [process for process in processes if process.lives()]
    assert of_cluster(cluster.id) == set()
    assert not had.state.exists()
    assert not Path(cluster.scratch).exists()
