"""Plain JSON values back into frozen dataclasses, strictly: the inverse of ``canonical.to_plain``.

One decoder for configuration, specs, manifests and run records. It reads the dataclass's own type
hints, so a new field needs no code here::

    decode(TrainConfig, {"epochs": 3, "optimizer": "sgd"}, at="train")

Understood: nested dataclasses, enums (by value), str, int, float, bool, None, ``X | Y``,
``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``, ``Mapping[str, X]``, ``Any`` and ``Json`` (taken
as they are), ``MethodConfig`` (a mapping whose ``name`` picks the class). A field may carry another
outside name in ``metadata['name']``. Missing fields take their defaults; unknown ones are refused.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

from had_core.canonical import Json
from had_core.errors import BadInput

if TYPE_CHECKING:
    from had_core.methods.base import MethodConfig

T = TypeVar("T")


def decode(cls: type[T], raw: Any, *, at: str = "") -> T:
    """An instance of ``cls`` from plain values.

    Args:
        cls: a dataclass, an enum or any other type the module's docstring lists.
        raw: what ``to_plain`` gives, or what YAML and JSON files hold.
        at: name of the value in error messages (``train``); empty at the top.

    Raises:
        BadInput: unknown or missing key, wrong type, value outside an enum; the sentence names the
            key with its path and what is allowed. Validation in ``__post_init__`` passes through.
    """
    value: T = _value(cls, raw, at)
    return value


def decode_dataclass(cls: type[T], raw: Any, at: str) -> T:
    """``raw`` must be a mapping whose keys are the outside names of ``cls``'s fields."""
    if not isinstance(raw, Mapping):
        raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed: a mapping with {_names(cls)}")
    fields = outside_names(cls)
    for key in raw:
        if key not in fields:
            raise unknown_key(_join(at, str(key)), str(key), fields)
    hints = _hints(typing.cast("Any", cls))
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in raw:
            values[field.name] = _value(hints[field.name], raw[name], _join(at, name))
        elif _required(field):
            raise BadInput(f"{_join(at, name)} is missing: {_expected(hints[field.name])}")
    return cls(**values)


def outside_names(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields that can be set, by the name they have outside Python (``lambda``)."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls)
    return {f.metadata.get("name", f.name): f for f in fields if f.init}


def unknown_key(path: str, key: str, allowed: Iterable[str]) -> BadInput:
    """The error for a key that does not exist, with the nearest one that does."""
    names = sorted(allowed)
    return BadInput(f"{path} is not a known key{closest(key, names)}: allowed are {_listed(names)}")


def closest(word: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` or nothing."""
    near = difflib.get_close_matches(word, list(allowed), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _value(hint: Any, raw: Any, at: str) -> Any:
    origin = get_origin(hint)
    if _takes_anything(hint):
        return raw
    if origin in (Union, types.UnionType):
        return _union(hint, raw, at)
    if origin is tuple:
        return _tuple(hint, raw, at)
    if origin is list:
        return [_value(get_args(hint)[0], x, f"{at}[{i}]") for i, x in enumerate(_items(raw, at))]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(hint, raw, at)
    if dataclasses.is_dataclass(hint):
        return decode_dataclass(typing.cast("type[Any]", hint), raw, at)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint, raw, at)
    if _is_method(hint):
        return decode_method(raw, at=at)
    return _scalar(hint, raw, at)


def _scalar(hint: Any, raw: Any, at: str) -> Any:
    if hint is float and type(raw) in (int, float) and _is_finite(raw):
        return float(raw)
    if hint in (int, str, bool, type(None)) and type(raw) is hint:
        return raw
    if hint is int and type(raw) is float and raw.is_integer():
        return int(raw)
    if hint is None and raw is None:
        return None
    raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed: {_expected(hint)}")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond every float
        return False


def _enum(hint: type[enum.Enum], raw: Any, at: str) -> enum.Enum:
    for member in hint:
        if type(raw) is type(member.value) and raw == member.value:
            return member
    # YAML 1.1 reads a bare `off` as False.
    values = [str(member.value) for member in hint]
    if raw is False and "off" in values:
        return hint("off")
    near = closest(str(raw), values)
    raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed{near}: {_listed(values)}")


def _union(hint: Any, raw: Any, at: str) -> Any:
    """The first member that takes the value; one error for all when none does."""
    members = get_args(hint)
    if raw is None and type(None) in members:
        return None
    structured = [m for m in members if _takes_mapping(m)]
    if isinstance(raw, Mapping) and len(structured) == 1:
        return _value(structured[0], raw, at)  # its own, deeper message
    for member in members:
        try:
            return _value(member, raw, at)
        except BadInput:
            continue
    raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed: {_expected(hint)}")


def _tuple(hint: Any, raw: Any, at: str) -> tuple[Any, ...]:
    items, members = _items(raw, at), get_args(hint)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(items)
    if len(items) != len(members):
        raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed: {_expected(hint)}")
    return tuple(
        _value(m, x, f"{at}[{i}]") for i, (m, x) in enumerate(zip(members, items, strict=True))
    )


def _items(raw: Any, at: str) -> list[Any]:
    if not isinstance(raw, (list, tuple)):
        raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed: a list")
    return list(raw)


def _mapping(hint: Any, raw: Any, at: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise BadInput(f"{_shown(at)}={_brief(raw)} is not allowed: {_expected(hint)}")
    member = get_args(hint)[1]
    return {str(key): _value(member, value, _join(at, str(key))) for key, value in raw.items()}


def _is_method(hint: Any) -> bool:
    from had_core.methods.base import MethodConfig

    return hint is MethodConfig


def decode_method(raw: Any, *, at: str) -> MethodConfig:
    """A method's settings; ``raw["name"]`` picks the class.

    Raises:
        BadInput: as ``decode``.
    """
    from had_core.methods import METHODS

    if not isinstance(raw, Mapping) or "name" not in raw:
        raise BadInput(f"{_join(at, 'name')} is missing: {_listed(METHODS)}")
    name = str(raw["name"])
    if name not in METHODS:
        path = _join(at, "name")
        raise BadInput(f"{path}={name} is not allowed{closest(name, METHODS)}: {_listed(METHODS)}")
    rest = {key: value for key, value in raw.items() if key != "name"}
    method: MethodConfig = decode_dataclass(METHODS[name], rest, at)
    return method


def _takes_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return dataclasses.is_dataclass(hint) or (
        isinstance(origin, type) and issubclass(origin, Mapping)
    )


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


class _Probe:
    value: Json
    inside: Mapping[str, Json]


@cache
def _json_hints() -> tuple[Any, ...]:
    """``Json`` as type hints resolve it, alone and in a mapping, where they go one step deeper.

    The alias refers to itself, so it is taken whole.
    """
    hints = _hints(_Probe)
    return hints["value"], get_args(hints["inside"])[1]


def _takes_anything(hint: Any) -> bool:
    return hint is Any or hint in _json_hints()


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _expected(hint: Any) -> str:
    """What a value of this type looks like, in words."""
    if _takes_anything(hint):
        return "any value"
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_expected(m) for m in members)
    if origin is tuple:
        if len(members) == 2 and members[1] is Ellipsis:
            return f"a list, each {_expected(members[0])}"
        return f"a list of {len(members)}, each {_expected(members[0])}"
    if origin is list:
        return f"a list, each {_expected(members[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of names to {_expected(members[1])}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with {_names(typing.cast('type', hint))}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _listed(str(member.value) for member in hint)
    words = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        type(None): "null",
        None: "null",
    }
    return words.get(hint) or f"a value of type {getattr(hint, '__name__', hint)}"


def _names(cls: type) -> str:
    return _listed(outside_names(cls))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _brief(raw: Any) -> str:
    """The value as YAML would show it, cut to a readable length."""
    text = {None: "null", True: "true", False: "false"}.get(raw) if _simple(raw) else None
    return shortened(text or _text(raw))


def shortened(text: str) -> str:
    """``text`` cut to a length that can be read in a sentence."""
    return text if len(text) <= 60 else text[:57] + "..."


def _text(raw: Any) -> str:
    try:
        return str(raw)
    except ValueError:  # Python writes out no more digits
        return f"(a number of more than {sys.get_int_max_str_digits()} digits)"


def _simple(raw: Any) -> bool:
    return raw is None or isinstance(raw, bool)


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _shown(at: str) -> str:
    return at or "the value"
