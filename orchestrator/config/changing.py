"""Recorded settings with overrides on top, and what two settings differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from had_core.canonical import canonical_json, to_plain
from had_core.decode import decode
from had_core.errors import BadInput
from orchestrator import resources
from orchestrator.config import composing
from orchestrator.config import overrides as override_syntax
from orchestrator.config.schema import RunConfig
from orchestrator.search.settings import SearchConfig

_FIXED = ("name", "store")
_SHOWN = 3


def changed(config: RunConfig, overrides: Sequence[str], *, cwd: Path | None = None) -> RunConfig:
    """``config`` under the same name with overrides as ``had run`` takes them.

    Raises:
        BadInput: as for ``compose``; also for the name, the store and a search's space.
    """
    for text in overrides:
        key = override_syntax.parse(text).key_or_group
        if key == "search" or key.split(".")[:2] == ["search", "space"]:
            raise BadInput(f"{key} cannot be changed here: start another sweep with had sweep")
    raw = _composed(config)
    keys = {key: key for key in composing.KEYS if key not in _FIXED}
    raw = override_syntax.apply(raw, overrides, resources.folder("experiments"), allowed=keys)
    raw = composing.said_last(raw, overrides)
    search = decode(SearchConfig, raw["search"], at="search") if raw["search"] else None
    # The weights file was read when the run began; it may be gone where nothing new asks for it.
    net = config.net if raw["net"] == to_plain(config.net) else None
    built = composing.build(
        {**raw, "search": None}, recipe=config.recipe, cwd=cwd or Path.cwd(), net=net
    )
    return replace(built, search=search)


def differences(old: RunConfig, new: RunConfig) -> tuple[str, ...]:
    """What decides results and differs, as ``train.epochs=9 instead of 4``; none where equal."""
    if old.hash == new.hash:
        return ()
    pairs = _changes(_composed(old, for_key=True), _composed(new, for_key=True))
    return tuple(f"{path}={_text(now)} instead of {_text(was)}" for path, was, now in pairs)


def in_short(changes: Sequence[str]) -> str:
    """A few of them, for a sentence."""
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return "; ".join(changes[:_SHOWN]) + more


def forked(config: RunConfig, parent: RunConfig) -> RunConfig:
    """``config`` under a name of its own, which the same change gives again.

    A run that was named by its recipe and hash is renamed likewise: as ``had run`` would name it.
    """
    base = parent.name.removesuffix(f"-{parent.hash[:8]}")
    return replace(config, name=f"{base[:91]}-{config.hash[:8]}")


def _composed(config: RunConfig, *, for_key: bool = False) -> dict[str, Any]:
    """The tree that ``composing.build`` makes ``config`` from."""
    json = config.to_json()
    plain: dict[str, Any] = {
        key: to_plain(getattr(config, key), for_key=for_key)
        for key in ("dataset", "net", "train", "cluster")
    }
    plain["data"] = to_plain(config.slicing, for_key=for_key)
    plain["search"] = to_plain(config.search, for_key=for_key) if config.search else None
    compared = json.get("compared")
    return {
        **plain,
        "tasks": list(config.tasks),
        "order": None,
        "orders": [list(order) for order in config.orders],
        "seed": list(config.seeds),
        "method": None if compared else json["method"],
        "methods": compared,
        "reference": json["reference"],
        "name": config.name,
        "store": json["store"],
        "tracking": json["tracking"],
    }


def _changes(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted paths of leaves that differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if not path and key in (*_FIXED, "tracking"):
                continue
            inner = f"{path}.{key}" if path else str(key)
            yield from _changes(old.get(key), new.get(key), inner)
    elif canonical_json(old) != canonical_json(new):
        yield path, old, new


def _text(value: Any) -> str:
    """As an override would say it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
