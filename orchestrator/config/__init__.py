"""Settings: Hydra's groups and overrides composed into frozen, validated dataclasses.

``schema`` holds what the rest of the project uses. Only ``composing`` and ``overrides`` import
Hydra; they are loaded when first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.config.params import with_params
from orchestrator.config.schema import (
    Backend,
    ClusterConfig,
    DatasetConfig,
    Device,
    RunConfig,
    StoreConfig,
    TrackingConfig,
)

__all__ = [
    "Backend",
    "ClusterConfig",
    "DatasetConfig",
    "Device",
    "RunConfig",
    "StoreConfig",
    "TrackingConfig",
    "apply_overrides",
    "changed",
    "compose",
    "differences",
    "forked",
    "in_short",
    "override_key",
    "with_params",
]


def compose(
    overrides: Sequence[str],
    *,
    cwd: Path | None = None,
    search: str | None = None,
    searches: bool = True,
) -> RunConfig:
    """The run that overrides describe; see ``orchestrator.config.composing``."""
    from orchestrator.config import composing

    return composing.compose(overrides, cwd=cwd, search=search, searches=searches)


def apply_overrides(
    raw: Mapping[str, Any], overrides: Sequence[str], *, allowed: Mapping[str, str]
) -> dict[str, Any]:
    """Plain settings with overrides on top; see ``orchestrator.config.overrides.apply``."""
    from orchestrator.config import overrides as override_syntax
    from orchestrator.resources import folder

    return override_syntax.apply(raw, overrides, folder("experiments"), allowed=allowed)


def override_key(text: str) -> str:
    """What an override is about: ``train.epochs``; raises BadInput for what is none."""
    from orchestrator.config import overrides as override_syntax

    return override_syntax.parse(text).key_or_group


def changed(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Recorded settings with overrides on top; see ``orchestrator.config.changing``."""
    from orchestrator.config import changing

    return changing.changed(config, overrides)


def differences(old: RunConfig, new: RunConfig) -> tuple[str, ...]:
    """What decides results and differs; see ``orchestrator.config.changing``."""
    from orchestrator.config import changing

    return changing.differences(old, new)


def forked(config: RunConfig, parent: RunConfig) -> RunConfig:
    """Changed settings under a name of their own; see ``orchestrator.config.changing``."""
    from orchestrator.config import changing

    return changing.forked(config, parent)


def in_short(changes: Sequence[str]) -> str:
    """A few differences, for a sentence."""
    from orchestrator.config import changing

    return changing.in_short(changes)
