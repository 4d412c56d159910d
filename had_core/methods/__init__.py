"""Lifelong-learning methods, one file each. Importing this package imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from had_core.methods.base import Method, MethodConfig, StageShape, StageView, StepView
from had_core.methods.had import HadConfig, HadLossConfig
from had_core.methods.joint import JointConfig
from had_core.methods.lwf import LwfConfig
from had_core.methods.naive import NaiveConfig
from had_core.methods.single import SingleConfig

METHODS: Mapping[str, type[MethodConfig]] = MappingProxyType(
    {
        config.name: config
        for config in (NaiveConfig, JointConfig, SingleConfig, LwfConfig, HadConfig)
    }
)

__all__ = [
    "METHODS",
    "HadConfig",
    "HadLossConfig",
    "JointConfig",
    "LwfConfig",
    "Method",
    "MethodConfig",
    "NaiveConfig",
    "SingleConfig",
    "StageShape",
    "StageView",
    "StepView",
]
