"""Planning and opening a store must not cost the import of what trains and tracks."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "ray", "mlflow", "hydra", "omegaconf", "optuna", "pyarrow", "numpy"}


def test_plan_and_store_import_nothing_heavy():
    code = "import sys, orchestrator.plan, orchestrator.store; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in out.stdout.split()}
    assert "orchestrator" in loaded
    assert loaded.isdisjoint(HEAVY)
