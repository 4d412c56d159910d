from __future__ import annotations

import numpy as np
import pytest
from micro import MICRO_SLICING

from had_core.data.slices import Slicing
from orchestrator.app.scores import constant_row
from orchestrator.store import Store


def test_the_constant_of_the_validation_part_is_chosen_outside_and_scored_inside_it(
    micro_dataset, tmp_path
):
    store = Store.open(tmp_path)
    row = constant_row(micro_dataset, store, MICRO_SLICING)
    train = micro_dataset.split("train")
    slicing = Slicing(len(train), MICRO_SLICING)
    seen = train.targets("depth", slicing.all())
    held_out = train.targets("depth", slicing.val())
    median = np.median(seen[seen > 0])
    valid = held_out > 0
    expected = np.abs(held_out[valid] - median).mean()
    assert row["depth"]["abs_err"] == pytest.approx(expected, rel=2e-3)
    assert row != constant_row(micro_dataset, store), "another set of images"
    assert constant_row(micro_dataset, store, MICRO_SLICING) == row
