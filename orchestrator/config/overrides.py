"""Overrides in Hydra's syntax: clear errors, and overrides on settings that are already made."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from had_core.decode import closest, shortened, unknown_key
from had_core.errors import BadInput

_LISTED = ("methods", "experiment")  # groups whose options stand beside each other


def parse(text: str) -> Override:
    """One override.

    Raises:
        BadInput: it is not ``key=value``, or lists alternatives as a sweep would.
    """
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise BadInput(_not_a_setting(text)) from error
    except ValueError as error:  # of int(): nothing else is converted
        key, _, value = text.partition("=")
        most = sys.get_int_max_str_digits()
        raise BadInput(
            f"{key}={shortened(value)} is not allowed: numbers have up to {most} digits"
        ) from error
    if override.is_sweep_override():
        raise BadInput(
            f"{override.key_or_group}={_value_text(text)} is not allowed: one value, or a list "
            "in brackets"
        )
    return override


def _not_a_setting(text: str) -> str:
    key, equals, value = text.partition("=")
    quoted = f"{key}='{value}'"
    if equals and "'" not in value and value[:1] not in "[{":
        try:
            OverridesParser.create().parse_override(quoted)
        except HydraException:
            pass
        else:
            return f'{text} has letters that need quotes inside the value: write "{quoted}"'
    return f"'{text}' is not a setting: write key=value, a list as [a,b], a mapping as {{a:1}}"


def apply(
    raw: Mapping[str, Any],
    overrides: Sequence[str],
    tree: Path,
    *,
    allowed: Mapping[str, str],
) -> dict[str, Any]:
    """Plain settings with overrides on top; a group's option replaces the whole section.

    Args:
        raw: a stored run's or stage's settings.
        tree: the folder of Hydra groups.
        allowed: for each key that may be changed (``data``), its name in ``raw`` (``slicing``).

    Raises:
        BadInput: a key that may not be changed, or an unknown option. What the values may be is
            for the decoder to say.
    """
    changed: dict[str, Any] = deepcopy(dict(raw))
    given = [(text, parse(text)) for text in overrides]
    # As Hydra does it: an option replaces a section, wherever it stands among the section's values.
    for text, override in sorted(given, key=lambda pair: not _is_option(pair[1], tree)):
        first, *rest = override.key_or_group.split(".")
        if first not in allowed:
            listed = ", ".join(sorted(allowed))
            raise BadInput(f"{first} cannot be changed here: allowed are {listed}")
        if override.type not in (OverrideType.CHANGE, OverrideType.ADD, OverrideType.FORCE_ADD):
            raise BadInput(f"'{text}' is not allowed here: write key=value")
        value = override.value()
        refuse_list(override, tree)
        if _is_option(override, tree):
            value = option(tree, first, text.partition("=")[2])
        _set(changed, [allowed[first], *rest], value)
    return changed


def _is_option(override: Override, tree: Path) -> bool:
    """Whether it chooses from a group (``method=had``)."""
    group = override.key_or_group
    return isinstance(override.value(), (str, list)) and (tree / group).is_dir()


def refuse_list(override: Override, tree: Path) -> None:
    """Raise BadInput for a list of options where Hydra would silently take the last, or none."""
    group, value = override.key_or_group, override.value()
    if not isinstance(value, list) or not (tree / group).is_dir():
        return
    if group not in _LISTED or not value:
        several = "one or more" if group in _LISTED else "one"
        listed = ", ".join(_options(tree, group))
        raise BadInput(f"{override.input_line} is not allowed: {several} of {listed}")


def option(tree: Path, group: str, name: str) -> Any:
    """One option of a group, or a list of them, as plain values (``train``, ``quick``)."""
    text = f"{group}={name}"
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(tree)):
            config = hydra_compose("config", [text])
    except HydraException as error:
        raise explain(error, [text], tree) from error
    chosen = OmegaConf.to_container(config[group], resolve=True)
    if group == "search":
        settle_space(chosen)
    return chosen


def settle_space(search: Any) -> None:
    """A recipe's space stands for itself: the option's own is for searches that name none.

    The two cannot be merged: one may search a range where the other lists choices.
    """
    if isinstance(search, dict):
        default = search.pop("default_space", None)
        search["space"] = search.get("space") or default


def explain(error: Exception, overrides: Sequence[str], tree: Path) -> BadInput:
    """Hydra's error as one sentence that names the key and what is allowed."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _unknown_option(error, tree)
    if isinstance(error, MissingMandatoryValue):
        key = str(getattr(error, "full_key", "") or error).rsplit(" ", 1)[-1]
        return BadInput(f"{key} is missing: give it a value")
    if isinstance(error, InterpolationResolutionError):
        return BadInput(f"{error.full_key} refers to something unknown: {_first_line(error)}")
    try:
        parsed = [parse(text) for text in overrides]
    except BadInput as bad:
        return bad
    return _unknown_path(parsed, tree) or BadInput(
        f"the settings are not usable: {_first_line(error)}"
    )


def _unknown_option(error: MissingConfigException, tree: Path) -> BadInput:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = sorted(error.options or _options(tree, group))
    listed = ", ".join(options) or "none"
    return BadInput(f"{group}={name} is not allowed{closest(name, options)}: {listed}")


def _options(tree: Path, group: str) -> list[str]:
    return sorted(path.stem for path in (tree / group).glob("*.yaml"))


def _no_option(tree: Path, group: str) -> BadInput:
    options = _options(tree, group)
    return BadInput(f"{group} is null: choose one first ({group}={'|'.join(options)})")


def _unknown_path(parsed: Sequence[Override], tree: Path) -> BadInput | None:
    """The first override whose key the tree does not have, given the chosen options."""
    groups = [o for o in parsed if (tree / o.key_or_group).is_dir()]
    for override in groups:
        wrong = _wrong_choice(override, tree)
        if wrong is not None:
            return wrong
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(tree)):
            base = hydra_compose("config", [str(o.input_line) for o in groups])
    except (HydraException, ValueError):
        return None
    known = OmegaConf.to_container(base, resolve=False)
    for override in parsed:
        if override in groups:  # a choice; a recipe leaves no key of its group's name behind
            continue
        place: Any = known
        path = override.key_or_group.split("@")[0].split(".")
        for depth, key in enumerate(path):
            if not isinstance(place, Mapping) or key not in place:
                if place in (known, None) and (tree / path[0]).is_dir():
                    return _no_option(tree, path[0])
                names = list(place) if isinstance(place, Mapping) else []
                if path[0] == "methods" and depth == 1:
                    return BadInput(
                        f"methods.{key} is not one of the methods{closest(key, names)}: there are "
                        f"{', '.join(names)}; +methods.{key}={{name:...}} adds one"
                    )
                return _unknown(path[: depth + 1], names, known)
            place = place[key]
    return None


def _unknown(path: Sequence[str], names: Sequence[str], known: Any) -> BadInput:
    """An unknown key; one that stands in a section is told with it (``epochs``)."""
    key = path[-1]
    sections = [f"{s}.{key}" for s, of in known.items() if isinstance(of, Mapping) and key in of]
    if len(path) > 1 or not sections:
        return unknown_key(".".join(path), key, names)
    return BadInput(
        f"{key} is not a known key (did you mean {' or '.join(sections)}?): allowed are "
        f"{', '.join(sorted(names))}"
    )


def _wrong_choice(override: Override, tree: Path) -> BadInput | None:
    """A group's value that names no option, or one twice."""
    group, value = override.key_or_group, override.value()
    if value is None:
        listed = ", ".join(_options(tree, group))
        return BadInput(f"{override.input_line} is not allowed: {listed}, or leave it out")
    if isinstance(value, Mapping) or group == "experiment":
        return None
    names = value if isinstance(value, list) else [value]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        return BadInput(f"{override.input_line} names '{twice[0]}' twice: each may come once")
    if not all(isinstance(name, str) for name in names):
        listed = ", ".join(_options(tree, group))
        return BadInput(f"{override.input_line} is not allowed: {listed}")
    return None


def _set(settings: dict[str, Any], path: Sequence[str], value: Any) -> None:
    place = settings
    for key in path[:-1]:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    place[path[-1]] = value


def _value_text(text: str) -> str:
    return text.partition("=")[2]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
