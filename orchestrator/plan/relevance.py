"""What of a fit's settings can matter, as plain values: the part of a key that is not lineage.

A setting without effect at this stage is left out, so that two stages that train the same weights
share them. Whatever is left out here must be without effect in ``had_core.stage``; the key
mutation test holds the two together.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

from had_core.canonical import to_plain
from had_core.configs import NetConfig, Optimizer, TeacherCache
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig


def config_fields(config: FitConfig) -> dict[str, Any]:
    """The settings that decide the fit, by name. Sub-dicts are shared: do not change them."""
    fields = {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    fields["method"] = method_fields(config.method)
    fields["train"] = _train_fields(config)
    _require_digest(config.net)
    return fields


def method_fields(method: MethodConfig) -> dict[str, Any]:
    """A method's settings with its name, which picks the class."""
    return {"name": method.name, **_plain(method)}


def _train_fields(config: FitConfig) -> dict[str, Any]:
    """Without momentum under Adam, frozen norms at stage 1, the cache of a teacher not asked.

    A float32 cache equals no cache up to rounding, so ``off`` counts as ``float32``.
    """
    fields, old = dict(_plain(config.train)), config.old_tasks
    if config.train.optimizer is Optimizer.ADAM:
        del fields["momentum"]
    if not old:
        del fields["freeze_bn"]
    if not config.method.distilled(old):
        del fields["teacher_cache"]
    elif config.train.teacher_cache is TeacherCache.OFF:
        fields["teacher_cache"] = TeacherCache.FLOAT32.value
    return fields


def _require_digest(net: NetConfig) -> None:
    """Weights enter keys by content; a path alone would give two files one key."""
    if net.weights is not None and net.weights_sha256 is None:
        raise BadInput(
            f"net.weights={net.weights} is not allowed without net.weights_sha256: "
            "the SHA-256 of that file"
        )


def _plain(value: Any) -> Any:
    """``to_plain`` for keys, remembered for settings that many stages share."""
    if not dataclasses.is_dataclass(value):
        return to_plain(value, for_key=True)
    hashable: Any = value
    try:
        return _remembered(hashable)
    except TypeError:  # not hashable: one weight a task
        return to_plain(value, for_key=True)


@lru_cache(maxsize=1024)
def _remembered(value: Any) -> Any:
    return to_plain(value, for_key=True)
