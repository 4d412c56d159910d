from __future__ import annotations

import pytest
from thread_parallel import on_ranks

from had_core.parallel import Solo
from orchestrator.execution.sharing import share_bytes, share_json


@pytest.mark.parametrize("raw", [b"", b"x", bytes(range(256)) * 50, None])
def test_every_rank_hears_rank_0(raw):
    def rank(parallel):
        return share_bytes(parallel, raw if parallel.rank == 0 else b"ignored")

    assert on_ranks(3, rank) == [raw] * 3
    assert share_bytes(Solo(), raw) == raw


def test_json_of_rank_0():
    value = {"a": [1, None], "b": True}
    shared = on_ranks(2, lambda p: share_json(p, value if p.rank == 0 else None))
    assert shared == [value, value]
