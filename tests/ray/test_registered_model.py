"""A registered stage, loaded from MLflow by a process that knows no orchestrator. Needs no Ray."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from sealed_net import SealedNet

from had_core.portable import TrainedNet
from orchestrator.app.book.registering import register_stage

CODE = """
import sys
import mlflow
import numpy as np

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/rooms/1")
predictions = model.predict(np.load("images.npy"))
np.savez("predictions.npz", **predictions)
print(sys.modules["had_core"].__file__)
print(sorted({name.split(".")[0] for name in sys.modules} & {"orchestrator", "ray", "hydra"}))
example = model.predict(model.input_example)
print(sorted(example), [list(value.shape) for value in example.values()])
"""


def test_it_predicts_what_the_net_predicts(tmp_path):
    netted = SealedNet(tmp_path / "a störe")
    result = register_stage(netted.key[:12], "rooms", netted.store.uri, None)
    assert result.new and result.uri == "models:/rooms/1"
    again = register_stage(netted.key[:12], "rooms", netted.store.uri, None)
    assert (again.version, again.new, again.model_id) == ("1", False, result.model_id)
    images = np.random.default_rng(0).random((2, 19, 30, 3), np.float32)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", CODE, result.tracking_uri],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home, modules, _ = done.stdout.splitlines()
    assert f"/{result.model_id}/" in home and modules == "[]"
    wanted = TrainedNet(netted.net, {}).predict(images)
    with np.load(tmp_path / "predictions.npz") as found:
        assert set(found) == set(wanted)
        for task, array in wanted.items():
            assert found[task].dtype == array.dtype
            assert np.array_equal(found[task], array), task
