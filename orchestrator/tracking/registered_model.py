"""The code of a registered stage, as MLflow keeps it (models from code) and runs it to load one.

Logged beside it: the weights, which say what net they are of, and the package ``had_core``.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from had_core.portable import Predictions, TrainedNet, load


class StageModel(PythonModel):
    """Predicts every task that the stage's net knows.

    ``mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`` computes on a GPU.
    """

    _net: TrainedNet

    def load_context(self, context: PythonModelContext) -> None:
        device = (context.model_config or {}).get("device", "cpu")
        self._net = load(context.artifacts["net"], device)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # the bare type: MLflow knows no other
        params: dict[str, Any] | None = None,
    ) -> Predictions:
        """float32 ``[N,H,W,3]`` in 0..1 -> by task as ``TrainedNet.predict`` has it."""
        return self._net.predict(np.asarray(model_input))


mlflow.models.set_model(StageModel())
