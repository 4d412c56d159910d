"""Weights as bytes: what the library itself would write, and the same again."""

from __future__ import annotations

import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from had_core.tensors import first_difference, from_bytes, to_bytes

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
names = st.text("abc./_", min_size=1, max_size=8)
tensors = st.builds(
    lambda shape, dtype: torch.randn(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
)


@given(st.dictionaries(names, tensors, max_size=6))
def test_the_library_writes_the_same_bytes(state) -> None:
    raw = to_bytes(state, {"epoch": 3})
    assert raw == safetensors.torch.save(state, {"meta": '{"epoch": 3}'})
    back, meta = from_bytes(raw)
    assert meta == {"epoch": 3}
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name].nan_to_num(), state[name].nan_to_num()) for name in state)


def test_layout_order_and_gradient_do_not_show() -> None:
    plain = torch.randn(2, 3, 4, 5)
    last = plain.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert to_bytes({"b": plain, "a": plain[0]}) == to_bytes({"a": last[0], "b": last})


def test_tensors_may_share_memory() -> None:
    whole = torch.arange(6.0)
    back, _ = from_bytes(to_bytes({"whole": whole, "same": whole, "part": whole[2:4]}))
    assert first_difference(back, {"whole": whole, "same": whole, "part": whole[2:4]}) is None
