from __future__ import annotations

import pytest
from micro import MICRO_TRAIN, fit_config  # noqa: F401 - re-exported for tests beside this file


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
