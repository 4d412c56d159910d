"""Where a result came from: versions, commit, numerics class."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

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
