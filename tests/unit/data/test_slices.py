"""Slices and batches: disjoint, equal, decided by seeds alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from had_core.configs import SlicingConfig
from had_core.data.slices import Slicing, epoch_batches, permutation
from had_core.errors import BadInput

configs = st.builds(
    SlicingConfig,
    slices=st.integers(1, 7),
    val_fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    split_seed=st.integers(0, 2**40),
)


@given(st.integers(20, 400), configs)
def test_slices_are_disjoint_equal_and_within_range(count: int, config: SlicingConfig) -> None:
    slicing = Slicing(count, config)
    val = slicing.val() if config.val_fraction else np.array([], np.int64)
    slices = [slicing.slice(k) for k in range(config.slices)]
    together = np.concatenate([val, *slices])
    assert len(set(together.tolist())) == len(together)
    assert together.dtype == np.int64
    assert together.min() >= 0 and together.max() < count
    assert {len(s) for s in slices} == {(count - len(val)) // config.slices}
    assert len(val) == pytest.approx(count * config.val_fraction, abs=1)
    assert slicing.all().tolist() == sorted(np.concatenate(slices).tolist())


@given(st.integers(20, 200), configs)
def test_slices_follow_from_the_settings(count: int, config: SlicingConfig) -> None:
    one, two = Slicing(count, config), Slicing(count, config)
    assert one.all().tolist() == two.all().tolist()
    one.slice(0)[:] = 0  # a copy: the caller cannot change the slices
    assert one.slice(0).tolist() == two.slice(0).tolist()


def test_the_seed_changes_the_slices() -> None:
    slices = [Slicing(100, SlicingConfig(4, 0.1, seed)).slice(0).tolist() for seed in range(5)]
    assert len({tuple(s) for s in slices}) == 5


def test_held_out_images_do_not_depend_on_the_number_of_slices() -> None:
    held = {tuple(Slicing(100, SlicingConfig(s, 0.1, 3)).val()) for s in (1, 2, 3, 5)}
    assert len(held) == 1


def test_slices_are_random_not_a_run_of_rows() -> None:
    rows = Slicing(1000, SlicingConfig(2, 0.0, 0)).slice(0)
    assert 400 < rows.mean() < 600
    assert (rows < 500).sum() == pytest.approx(250, abs=50)


@pytest.mark.parametrize(
    ("count", "config"),
    [
        (2, SlicingConfig(3, 0.0)),
        (3, SlicingConfig(3, 0.1)),
        (0, SlicingConfig(1, 0.0)),
        (1, SlicingConfig(1, 0.5)),
    ],
)
def test_too_few_images(count: int, config: SlicingConfig) -> None:
    with pytest.raises(BadInput, match=f"data.slices={config.slices} .* {count} training images"):
        Slicing(count, config)


@pytest.mark.parametrize("k", [-1, 3, 99])
def test_slice_number_out_of_range(k: int) -> None:
    with pytest.raises(BadInput, match=f"slice {k} .* 0..2"):
        Slicing(30, SlicingConfig(3)).slice(k)


def test_no_held_out_images_to_score_on() -> None:
    with pytest.raises(BadInput, match="val_fraction=0"):
        Slicing(30, SlicingConfig(3, 0.0)).val()


def test_permutation_is_frozen() -> None:
    """Keys of finished trainings depend on it: it must never change."""
    assert permutation(0, 10).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert Slicing(12, SlicingConfig(3, 0.25, 7)).slice(1).tolist() == [5, 6, 9]


@given(st.integers(0, 2**62), st.integers(0, 300))
def test_permutation_is_a_permutation(seed: int, count: int) -> None:
    assert sorted(permutation(seed, count).tolist()) == list(range(count))


@given(st.integers(1, 60), st.integers(1, 12), st.booleans(), st.integers(0, 99), st.integers(0, 9))
def test_batches_cover_the_rows_once(
    count: int, batch: int, drop_last: bool, seed: int, epoch: int
) -> None:
    rows = np.arange(count) * 3 + 5
    if batch > count:
        with pytest.raises(BadInput, match=f"train.batch_size={batch} .* {count} images"):
            epoch_batches(rows, batch, drop_last, seed, epoch)
        return
    batches = epoch_batches(rows, batch, drop_last, seed, epoch)
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == len(seen) and set(seen.tolist()) <= set(rows.tolist())
    assert all(len(b) == batch for b in batches[:-1])
    assert len(seen) == (count // batch * batch if drop_last else count)
    again = epoch_batches(rows, batch, drop_last, seed, epoch)
    assert [b.tolist() for b in batches] == [b.tolist() for b in again]


def test_epochs_and_seeds_shuffle_differently() -> None:
    rows = np.arange(50)
    orders = {
        tuple(np.concatenate(epoch_batches(rows, 10, True, seed, epoch)).tolist())
        for seed in range(3)
        for epoch in range(4)
    }
    assert len(orders) == 12
