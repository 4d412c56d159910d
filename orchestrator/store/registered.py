"""Stages that were registered as models: a pin each, so that nothing removes what MLflow names.

::

    registered/<model name>-<fit key>.json     created once, before MLflow is asked

The file's name says all that keeps a stage alive. A pin whose content is damaged still counts, and
so does one whose registration did not come about: a pin too many costs disk, one too few a model.
Who deletes the file gives the stage free.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from had_core.canonical import to_plain
from had_core.decode import decode
from had_core.errors import BadInput, CorruptArtifact
from orchestrator.store import records
from orchestrator.store.fs import StoreFs
from orchestrator.store.seal import checked_key

_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
_FILE = re.compile(rf"({_NAME})-([0-9a-f]{{64}})\.json")


@dataclass(frozen=True)
class Pin:
    """One registered stage.

    Attributes:
        name: of the model in MLflow's registry.
        key: of the stage's fit.
        tracking_uri: the MLflow it was registered with, without credentials; empty where the
            content is damaged.
        created_at: UTC, ISO 8601; empty likewise.
    """

    name: str
    key: str
    tracking_uri: str = ""
    created_at: str = ""


class Registered:
    """``registered/``, safe for many processes: a pin is created once and never changed."""

    def __init__(self, fs: StoreFs) -> None:
        self._fs = fs

    def add(self, name: str, key: str, tracking_uri: str) -> Pin:
        """Pin a stage, durable on return; the pin of the same name and key where there is one.

        Raises:
            BadInput: a name that is not allowed, or a store that cannot be written.
            ValueError: a key that is not 64 hexadecimal digits.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        pin = Pin(checked_model_name(name), checked_key(key), tracking_uri, now)
        if self._fs.create_if_absent(_path(name, key), records.to_bytes(to_plain(pin))):
            return pin
        return self._read(name, key)

    def list(self) -> tuple[Pin, ...]:
        """Every pin, by name, then by key."""
        found = (_FILE.fullmatch(name) for name in self._fs.names("registered"))
        return tuple(self._read(*pair) for pair in sorted((m[1], m[2]) for m in found if m))

    def _read(self, name: str, key: str) -> Pin:
        path = _path(name, key)
        try:
            pin = decode(Pin, records.from_bytes(self._fs.read(path)), at=path)
        except (BadInput, CorruptArtifact, FileNotFoundError):
            return Pin(name, key)
        return pin if (pin.name, pin.key) == (name, key) else Pin(name, key)


def checked_model_name(name: str) -> str:
    """The name itself; raises BadInput unless it can name a model and a file."""
    if not re.fullmatch(_NAME, name):
        raise BadInput(
            f"model name '{name}' is not allowed: up to 128 of A-Z a-z 0-9 . _ -, not beginning "
            "with a dot"
        )
    return name


def _path(name: str, key: str) -> str:
    return f"registered/{name}-{key}.json"
