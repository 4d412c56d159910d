"""A job's log as two things at once: text for people, marked lines for the program that follows.

What a command tells its display inside the job is written as one line of JSON a call, and played
back into a display where someone follows::

    @had {"call": "begin", "at": 1767225600.0, "args": ["rooms-1f3a"], "kwargs": {...}}
    @had {"call": "event", "args": [{"$type": "orchestrator.execution.messages:Outcome", ...}]}
    @had {"result": {...}}          the command's JSON document; the text after it is its tables

Values are plain JSON, tuples, and dataclasses and enums of this project by their names. Nothing
else is ever made from a line, and a line that this version does not understand is left out.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TextIO

from had_core.errors import HadError

MARK = "@had "
_TYPE, _MAPPING, _TUPLE, _FLOAT = "$type", "$mapping", "$tuple", "$float"
_PACKAGES = ("had_core.", "orchestrator.")
_PROGRESS_EVERY_S = 2.0


@dataclass(frozen=True)
class Call:
    """A method of a display, what it was called with, and when (seconds since the epoch)."""

    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Result:
    """The command's JSON document."""

    document: Any


Message = Call | Result


def encode(message: Message) -> str:
    """One line without its end.

    Raises:
        TypeError: a value that no line can hold.
    """
    if isinstance(message, Result):
        body: dict[str, Any] = {"result": message.document}
    else:
        body = {
            "call": message.method,
            "at": round(message.at, 1),
            "args": [_plain(value) for value in message.args],
            "kwargs": {name: _plain(value) for name, value in message.kwargs.items()},
        }
    return MARK + json.dumps(body, sort_keys=True, allow_nan=False)


def decode_line(line: str) -> Message | str | None:
    """The message in a line; the line itself where it is text; None where nobody understands it."""
    if not line.startswith(MARK):
        return line
    try:
        body = json.loads(line.removeprefix(MARK))
        if "result" in body:
            return Result(body["result"])
        method = str(body["call"])
        if method.startswith("_"):
            return None
        kwargs = {str(name): _value(raw) for name, raw in body.get("kwargs", {}).items()}
        args = tuple(_value(raw) for raw in body.get("args", []))
        return Call(method, args, kwargs, float(body.get("at", 0.0)))
    except (HadError, ImportError, AttributeError, KeyError, TypeError, ValueError):
        return None


def play(call: Call, display: Any) -> None:
    """Make the call; a method that this display does not have is left out."""
    method = getattr(display, call.method, None)
    if callable(method):
        method(*call.args, **call.kwargs)


class WireDisplay:
    """A display of any shape that writes every call as a line. Methods may come from any thread.

    ``note`` is text for everyone. Progress of a stage is thinned out: whenever an epoch begins or
    its loss terms are known, else once in two seconds. Of another call that is repeated without a
    change, the first is enough.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[Any, float]] = {}
        self._last: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def note(self, text: str) -> None:
        self._write(" ".join(text.split("\n")))

    def event(self, event: Any) -> None:
        if not self._is_news(event):
            return
        self._call("event", event)

    def result(self, document: Any) -> None:
        """The command's JSON document; what is printed afterwards are its tables."""
        self._write(encode(Result(document)))

    def __getattr__(self, method: str) -> Callable[..., None]:
        """Whatever else a display may be told."""
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*args: Any, **kwargs: Any) -> None:
            self._call(method, *args, **kwargs)

        return call

    def _call(self, method: str, *args: Any, **kwargs: Any) -> None:
        try:
            line = encode(Call(method, args, kwargs))
            timed = encode(Call(method, args, kwargs, time.time()))
        except TypeError:  # worth no failure: a picture of the run is lost
            return
        with self._lock:
            if self._last.get(method) == line:
                return
            self._last[method] = line
        self._write(timed)

    def _write(self, line: str) -> None:
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()

    def _is_news(self, event: Any) -> bool:
        epoch, lane = getattr(event, "epoch", None), getattr(event, "lane", None)
        if epoch is None or lane is None:
            return True
        now = self._clock()
        with self._lock:
            known, at = self._shown.get(lane, (None, 0.0))
            stage = (getattr(event, "key", None), epoch, getattr(event, "terms", None))
            if stage == known and now - at < _PROGRESS_EVERY_S:
                return False
            self._shown[lane] = (stage, now)
        return True


def _plain(value: Any) -> Any:
    """As JSON; what JSON does not know becomes a mapping that says so."""
    if value is None or isinstance(value, (str, bool, int)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, enum.Enum):
        return {_TYPE: _name_of(type(value)), "value": _plain(value.value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_TYPE: _name_of(type(value)), "fields": inner}
    if isinstance(value, Mapping):
        return {_MAPPING: [[_plain(key), _plain(inner)] for key, inner in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_plain(inner) for inner in value]}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} cannot be written in a line")


def _value(raw: Any) -> Any:
    if isinstance(raw, list):
        return [_value(inner) for inner in raw]
    if not isinstance(raw, dict):
        return raw
    if _FLOAT in raw:
        return float(raw[_FLOAT])
    if _MAPPING in raw:
        return {_value(key): _value(inner) for key, inner in raw[_MAPPING]}
    if _TUPLE in raw:
        return tuple(_value(inner) for inner in raw[_TUPLE])
    cls = _type_of(str(raw[_TYPE]))
    if issubclass(cls, enum.Enum):
        return cls(_value(raw["value"]))
    return cls(**{name: _value(inner) for name, inner in raw["fields"].items()})


def _name_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _type_of(name: str) -> type[Any]:
    """A frozen dataclass or an enum of this project, and nothing else."""
    module, _, attribute = name.partition(":")
    if not module.startswith(_PACKAGES):
        raise ValueError(f"{name} is not a type of this project")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, type) or not (
        dataclasses.is_dataclass(found) or issubclass(found, enum.Enum)
    ):
        raise ValueError(f"{name} holds no values")
    return found
