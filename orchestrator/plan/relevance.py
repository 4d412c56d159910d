"""What of a fit's settings can matter, in canonical form: the part of a key that is not lineage.

A setting without effect at this stage is left out, so that two stages that train the same weights
share them. Whatever is left out here must be without effect in ``had_core.stage``; the key
mutation test holds the two together.

Settings are turned into text once and remembered: a plan may hold 100,000 stages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, TypeVar

from had_core.canonical import canonical_json, to_plain
from had_core.configs import NetConfig, Norm, Optimizer, TeacherCache, TrainConfig
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig

T = TypeVar("T")


def config_texts(config: FitConfig) -> dict[str, str]:
    """The settings that decide the fit: name -> canonical JSON."""
    texts = {name: text_of(getattr(config, name)) for name in _plainly_keyed()}
    old, method = config.old_tasks, config.method
    texts["method"] = method_text(method)
    texts["net"] = _remembered(config.net, _net_text)
    frozen = config.net.norm is Norm.FROZEN
    texts["train"] = _train_text(config.train, not old, bool(method.distilled(old)), frozen)
    return texts


def method_text(method: MethodConfig) -> str:
    """A method's settings with its name, which picks the class."""
    return _remembered(method, _method_text)


def object_text(members: Mapping[str, str]) -> str:
    """The canonical JSON object with these members, whose values are canonical JSON already."""
    return "{" + ",".join([f'"{name}":{members[name]}' for name in sorted(members)]) + "}"


@cache
def _plainly_keyed() -> tuple[str, ...]:
    """Every field of FitConfig without a rule of its own, so that a new one is never forgotten."""
    names = (f.name for f in dataclasses.fields(FitConfig) if f.metadata.get("key") is not False)
    return tuple(name for name in names if name not in ("method", "net", "train"))


@lru_cache(maxsize=1024)
def _train_text(train: TrainConfig, first: bool, distils: bool, frozen: bool) -> str:
    """Without momentum under Adam, frozen norms at stage 1, the cache of a teacher not asked.

    A float32 cache equals no cache up to rounding, so ``off`` counts as ``float32``; norms that
    are ``frozen`` from the first stage on cannot be frozen again.
    """
    fields = to_plain(train, for_key=True)
    if train.optimizer is Optimizer.ADAM:
        del fields["momentum"]
    if first:
        del fields["freeze_bn"]
    elif frozen:
        fields["freeze_bn"] = False
    if not distils:
        del fields["teacher_cache"]
    elif train.teacher_cache is TeacherCache.OFF:
        fields["teacher_cache"] = TeacherCache.FLOAT32.value
    return canonical_json(fields)


def _net_text(net: NetConfig) -> str:
    """Weights enter keys by content; a path alone would give two files one key."""
    if net.weights is not None and net.weights_sha256 is None:
        raise BadInput(
            f"net.weights={net.weights} is not allowed without net.weights_sha256: "
            "the SHA-256 of that file"
        )
    return canonical_json(to_plain(net, for_key=True))


def _method_text(method: MethodConfig) -> str:
    return canonical_json({"name": method.name, **to_plain(method, for_key=True)})


# The object is kept beside its text, so that its id stays its own.
_REMEMBERED: dict[int, tuple[object, str]] = {}
_MOST_REMEMBERED = 4096


def _remembered(value: T, make: Callable[[T], str]) -> str:
    """``make(value)``, once an object: the stages of a plan share their settings.

    By identity, because a method that holds one weight a task has no hash.
    """
    known = _REMEMBERED.get(id(value))
    if known is None:
        if len(_REMEMBERED) >= _MOST_REMEMBERED:
            _REMEMBERED.clear()
        known = _REMEMBERED[id(value)] = (value, make(value))
    return known[1]


def text_of(value: Any) -> str:
    """Canonical JSON; tuples item by item, because their items recur and they do not."""
    if type(value) is tuple:
        return "[" + ",".join([text_of(item) for item in value]) + "]"
    try:
        return _item_text(value)
    except TypeError:  # not hashable
        return canonical_json(to_plain(value, for_key=True))


@lru_cache(maxsize=4096, typed=True)
def _item_text(value: Any) -> str:
    return canonical_json(to_plain(value, for_key=True))
