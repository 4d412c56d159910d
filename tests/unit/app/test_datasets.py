"""The data set of what goes on: found where it is said to lie, or not built in its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from had_core.errors import BadInput
from orchestrator.app.datasets import require_found


def test_a_data_set_that_moved_has_to_be_there(config_of, tmp_path):
    known = config_of().dataset
    moved = replace(known, path=str(tmp_path / "moved"))
    with pytest.raises(BadInput, match=rf"dataset\.path=.*/moved does not exist: .* {known.path}"):
        require_found(moved, known)
    (tmp_path / "moved").mkdir()
    require_found(moved, known)


def test_the_recorded_folder_may_be_gone(config_of, tmp_path):
    known = replace(config_of().dataset, path=str(tmp_path / "gone"))
    require_found(known, known)
