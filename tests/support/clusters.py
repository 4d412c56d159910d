"""Real clusters of any size for tests: ``cluster_drive`` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve()


def drive(patience_s: float, **told: Any) -> list[dict[str, Any]]:
    """What became of every case; see ``cluster_drive``."""
    path = os.pathsep.join([str(_HERE.parents[2]), str(_HERE.parent)])
    done = subprocess.run(
        [sys.executable, str(_HERE.with_name("cluster_drive.py")), json.dumps(told)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def completed(result: dict[str, Any]) -> bool:
    """Two trials over all orders of three tasks: 3 shared stages and 12 of each."""
    return result == {"trials": ["COMPLETE"] * 2, "stages": 3 + 2 * 12}
