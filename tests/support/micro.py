"""The smallest lifelong problem that is still one: for tests that train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from had_core.configs import NetConfig, SlicingConfig, TrainConfig, View
from had_core.fit_config import FitConfig
from had_core.methods import HadConfig, MethodConfig, NaiveConfig

MICRO_NET = NetConfig(decoder_channels=8, aspp_rates=(1, 2, 3))
MICRO_TRAIN = TrainConfig(epochs=2, batch_size=6, lr=1e-3)  # two steps an epoch on 40 images
MICRO_SLICING = SlicingConfig(slices=3, val_fraction=0.1)
ORDER = ("semantic", "depth", "normal")


def fit_config(position: int = 1, method: MethodConfig | None = None, **changes: Any) -> FitConfig:
    """The fit at 1-based ``position`` of ORDER; ``changes`` replace fields of the config."""
    if method is None:
        method = NaiveConfig() if position == 1 else HadConfig()
    config = FitConfig(
        tasks=ORDER[:position],
        views=(View(ORDER[position - 1], position - 1),),
        method=method,
        net=MICRO_NET,
        train=MICRO_TRAIN,
        slicing=MICRO_SLICING,
        seed=0,
    )
    return replace(config, **changes)
