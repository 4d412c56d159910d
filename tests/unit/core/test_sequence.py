"""What ``run_sequence`` refuses, before it trains anything."""

from __future__ import annotations

import pytest

from had_core.errors import BadInput
from had_core.methods import NaiveConfig
from had_core.sequence import run_sequence


@pytest.mark.parametrize("order", [[], "depth", ["depth", "depth"], ["depth", "colour"]], ids=repr)
def test_an_order_that_cannot_be_learned(micro_dataset, order, monkeypatch):
    monkeypatch.setattr("had_core.sequence.fit", None)
    with pytest.raises(BadInput) as caught:
        run_sequence(micro_dataset, order, NaiveConfig())
    assert f"order={order!r} is not allowed: one or more of semantic, " in str(caught.value)
