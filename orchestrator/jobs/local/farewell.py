"""Jobs of a local cluster end before it does, so that no run is left RUNNING."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from had_core.errors import HadError
from orchestrator.jobs.client import JobsApi, connect
from orchestrator.jobs.local.state import is_kept, read_state
from orchestrator.jobs.target import Target

PATIENCE_S = 120.0


def stop_jobs(folder: Path, say: Callable[[str], None]) -> list[str]:
    """Ask every living job to end and wait a while; their ids.

    A cluster that does not answer has no jobs to wait for.
    """
    cluster = read_state(folder)
    if cluster is None or not is_kept(folder):
        return []
    try:
        token = Path(cluster.token_path).read_text().strip()
        return end_jobs(connect(Target(cluster.address, token, cluster.token_path)), say)
    except (HadError, OSError) as error:
        say(f"its jobs are not waited for: {error}")
        return []


def end_jobs(api: JobsApi, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> list[str]:
    """Stop what lives; give all of it ``patience_s`` together."""
    living = [job.id for job in api.list() if job.state.lives]
    for job_id in living:
        say(f"job {job_id} ends after this epoch")
        api.stop(job_id)
    deadline = time.monotonic() + patience_s
    while living and time.monotonic() < deadline:
        if not any(api.get(job_id).state.lives for job_id in living):
            break
        time.sleep(0.5)
    return living
