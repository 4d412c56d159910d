"""Which training images a stage sees, and in what batches. Decided by seeds only.

::

    permutation(split_seed) of 0..count-1
    [ val | slice 0 | slice 1 | ... | slice S-1 | rest ]     rest: fewer than S images, unused

Permutations sort raw PCG64 words: numpy promises those words to stay the same for ever, but not
what ``Generator.permutation`` makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from had_core.canonical import derive_seed
from had_core.configs import SlicingConfig, TrainConfig, View
from had_core.errors import BadInput

Rows = NDArray[np.int64]


def permutation(seed: int, count: int) -> Rows:
    """A permutation of 0..count-1 decided by ``seed``, int64."""
    words = np.random.PCG64(seed).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


class Slicing:
    """``count`` training images cut by ``SlicingConfig``; rows are sorted, slices disjoint.

    Raises:
        BadInput: a slice would be empty.
    """

    def __init__(self, count: int, config: SlicingConfig) -> None:
        self.count, self.config = count, config
        shuffled = permutation(derive_seed(config.split_seed, "slicing"), count)
        held_out = round(count * config.val_fraction)
        if config.val_fraction > 0:
            held_out = max(1, held_out)
        self._val = np.sort(shuffled[:held_out])
        self.slice_size = max(0, count - held_out) // config.slices
        if self.slice_size == 0:
            raise BadInput(
                f"data.slices={config.slices} is not allowed: {count} training images, "
                f"{held_out} of them held out, leave a slice empty"
            )
        rest = shuffled[held_out : held_out + self.slice_size * config.slices]
        self._slices = np.sort(rest.reshape(config.slices, self.slice_size), axis=1)

    def val(self) -> Rows:
        """The images that no stage trains on; sweeps score on them.

        Raises:
            BadInput: ``val_fraction`` is 0, so there are none.
        """
        if not len(self._val):
            raise BadInput(
                "data.val_fraction=0 is not allowed here: a fraction above 0 holds out images "
                "to score on"
            )
        return self._val.copy()

    def slice(self, k: int) -> Rows:
        """Slice ``k``, counted from 0: what the stage at position k trains on."""
        if not 0 <= k < self.config.slices:
            raise BadInput(
                f"slice {k} is not allowed: data.slices={self.config.slices} numbers them "
                f"0..{self.config.slices - 1}"
            )
        rows: Rows = self._slices[k].copy()
        return rows

    def count_of(self, views: Iterable[View]) -> int:
        """How many different images the views show together."""
        shown = {view.slice for view in views}
        return self.slice_size * (self.config.slices if None in shown else len(shown))

    def all(self) -> Rows:
        """Every slice together: all images that any stage may train on."""
        return np.sort(self._slices, axis=None)


def check_batches(images: int, train: TrainConfig, workers: int) -> None:
    """Raise BadInput where batches of ``train`` cannot be cut from so many images."""
    if train.batch_size % workers:
        raise BadInput(
            f"train.batch_size={train.batch_size} is not allowed: a multiple of the {workers} "
            "workers"
        )
    if train.batch_size > images:
        raise BadInput(
            f"train.batch_size={train.batch_size} is not allowed: at most the {images} images "
            "that a stage sees"
        )
    rest = images % train.batch_size
    if not train.drop_last and 0 < rest < workers:
        raise BadInput(
            f"train.drop_last=false is not allowed: the last batch has {rest} image(s) for "
            f"{workers} workers"
        )


def epoch_batches(
    rows: Rows, batch_size: int, drop_last: bool, seed: int, epoch: int
) -> list[Rows]:
    """The batches of one epoch: ``rows`` in an order decided by ``seed`` and ``epoch`` only.

    Without ``drop_last`` the last batch may be smaller.

    Raises:
        BadInput: a batch is larger than ``rows``.
    """
    if not 1 <= batch_size <= len(rows):
        raise BadInput(
            f"train.batch_size={batch_size} is not allowed: the stage has {len(rows)} images, "
            f"1..{len(rows)} is"
        )
    shuffled = rows[permutation(derive_seed(seed, "epoch", epoch), len(rows))]
    stop = len(rows) - len(rows) % batch_size if drop_last else len(rows)
    return [shuffled[start : start + batch_size] for start in range(0, stop, batch_size)]
