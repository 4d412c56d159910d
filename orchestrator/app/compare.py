"""``had compare``: several methods over the same orders and seeds, on the test set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.app.results_table import FILE, comparison_folder
from orchestrator.app.run import run
from orchestrator.display.comparison import CompareResult

if TYPE_CHECKING:
    from orchestrator.config import RunConfig
    from orchestrator.display.live import Display


def compare(config: RunConfig, display: Display) -> CompareResult:
    """Run every method of ``config.compared`` and put them side by side.

    Raises:
        BadInput, KeyboardInterrupt: as ``run``.
    """
    result = run(config, display)
    return CompareResult(result, f"{result.store}/{comparison_folder(config.name)}/{FILE}")
