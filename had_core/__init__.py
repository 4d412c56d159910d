"""The science of lifelong heterogeneous learning: tasks, data, nets, losses, methods, metrics.

Names are loaded when first used: importing the package imports neither torch nor pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from had_core.configs import NetConfig, SlicingConfig, TrainConfig
    from had_core.data import ShardDataset
    from had_core.errors import BadInput, CorruptArtifact, HadError, NonFiniteLoss, NonFiniteNet
    from had_core.evaluation import evaluate
    from had_core.methods import HadConfig, HadLossConfig, NaiveConfig
    from had_core.sequence import StageOutcome, run_sequence
    from had_core.stage import FitResult, Runtime, fit
    from had_core.tasks import DenseTask, TaskKind

_HOME = {
    "NetConfig": "configs",
    "SlicingConfig": "configs",
    "TrainConfig": "configs",
    "ShardDataset": "data",
    "BadInput": "errors",
    "CorruptArtifact": "errors",
    "HadError": "errors",
    "NonFiniteLoss": "errors",
    "NonFiniteNet": "errors",
    "evaluate": "evaluation",
    "HadConfig": "methods",
    "HadLossConfig": "methods",
    "NaiveConfig": "methods",
    "StageOutcome": "sequence",
    "run_sequence": "sequence",
    "FitResult": "stage",
    "Runtime": "stage",
    "fit": "stage",
    "DenseTask": "tasks",
    "TaskKind": "tasks",
}

__all__ = [  # noqa: RUF022 - grouped by where they live
    "NetConfig",
    "SlicingConfig",
    "TrainConfig",
    "ShardDataset",
    "BadInput",
    "CorruptArtifact",
    "HadError",
    "NonFiniteLoss",
    "NonFiniteNet",
    "evaluate",
    "HadConfig",
    "HadLossConfig",
    "NaiveConfig",
    "StageOutcome",
    "run_sequence",
    "FitResult",
    "Runtime",
    "fit",
    "DenseTask",
    "TaskKind",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'had_core' has no attribute '{name}'")
    return getattr(import_module(f"had_core.{_HOME[name]}"), name)
