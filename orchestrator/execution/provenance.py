"""Where a result came from: versions, commit, data."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from had_core.canonical import to_plain
from had_core.data.manifest import DatasetManifest

COMMIT_FILE = "commit"  # in the package's resources, where the code was shipped without its history
_RECORDED = ("had-orchestrator", "torch", "numpy", "pyarrow", "ray", "safetensors")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what can move a result; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str:
    """Git commit of this code, ``-dirty`` appended where it was changed; empty if unknown."""
    package = Path(__file__).resolve().parents[1]
    shipped, root = package / "_resources" / COMMIT_FILE, package.parent
    if shipped.is_file():
        return shipped.read_text().strip()
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def trained_on(manifest: DatasetManifest, tasks: Sequence[str]) -> dict[str, Any]:
    """What has to be known of a data set to use a net that was trained on it.

    Its name, the size of its images, and its ``tasks`` in the order in which the net learned them.
    """
    known = {task.name: to_plain(task) for task in manifest.tasks}
    return {
        "name": manifest.name,
        "height": manifest.height,
        "width": manifest.width,
        "tasks": [known[name] for name in tasks],
    }
