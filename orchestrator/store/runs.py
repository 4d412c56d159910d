"""Runs: a name stands for one composed configuration, for good."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from had_core.canonical import canonical_json, to_plain
from had_core.decode import decode
from had_core.errors import BadInput, CorruptArtifact
from orchestrator.store import records
from orchestrator.store.fs import StoreFs, nonce

_log = logging.getLogger("orchestrator.store")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_FILE = re.compile(rf"{_NAME.pattern}\.json")
_LOST = re.compile(rf"run-({_NAME.pattern})-[0-9a-f]{{16}}\.json")
_SHOWN = 3


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        config: the composed configuration as plain JSON values.
        created_at: UTC, ISO 8601.
        keeps: keys of fits that the name keeps beside what follows from the configuration; those of
            a rerun, which trains single stages.
    """

    name: str
    config: Mapping[str, Any]
    created_at: str
    keeps: tuple[str, ...] = ()


class Runs:
    """``runs/<name>.json``, each created once and never changed.

    A run whose name was dropped lies in ``dropped/<name>.json``: nothing is kept for its sake, but
    what it was told is still known. Whoever records it again makes it a kept one.
    """

    def __init__(self, fs: StoreFs) -> None:
        self._fs = fs

    def create(self, name: str, config: Mapping[str, Any], keeps: Sequence[str] = ()) -> RunRecord:
        """Record a run, or return the record of the same name and configuration.

        Raises:
            BadInput: a name that is not allowed, or that stands for another configuration.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = RunRecord(check_name(name), to_plain(config), now, tuple(sorted(keeps)))
        while not self._fs.create_if_absent(_path(name), _to_bytes(record)):
            known = self.read(name)  # None where it was damaged: then it is made again
            if known is not None:
                _require_same(name, known.config, record.config)
                return known
        self._fs.delete(_dropped(name))
        return record

    def drop(self, name: str) -> None:
        """Keep nothing for the sake of this name any more.

        Raises BadInput where the store cannot be written.
        """
        if not self._fs.move(_path(check_name(name)), _dropped(name)):
            self._fs.create_if_absent(_dropped(name), b"")  # of a run without a record

    def keep(self, name: str) -> None:
        """Undo ``drop``; harmless where it was not dropped."""
        if check_name(name) not in self.dropped():
            return
        if self._read_dropped(name) is None:
            self._fs.delete(_dropped(name))
        else:
            self._fs.move(_dropped(name), _path(name))

    def read(self, name: str) -> RunRecord | None:
        """The record, None where there is none; a damaged one is set aside and counts as none."""
        path = _path(check_name(name))
        try:
            raw = self._fs.read(path)
        except FileNotFoundError:
            return None
        try:
            return decode(RunRecord, records.from_bytes(raw), at=path)
        except (CorruptArtifact, BadInput) as error:
            try:
                self._set_aside(name, raw, str(error))
            except BadInput as unwritable:
                _log.warning("damaged run record %s (%s): %s", name, error, unwritable)
            return None

    def known(self, name: str) -> RunRecord | None:
        """The record of a kept or of a dropped run, None where there is neither."""
        return self.read(name) or self._read_dropped(name)

    def _read_dropped(self, name: str) -> RunRecord | None:
        path = _dropped(check_name(name))
        try:
            return decode(RunRecord, records.from_bytes(self._fs.read(path)), at=path)
        except (FileNotFoundError, CorruptArtifact, BadInput):
            return None

    def _set_aside(self, name: str, raw: bytes, reason: str) -> None:
        aside = f"damaged/run-{name}-{nonce()}.json"
        if not self._fs.move(_path(name), aside):
            return  # another process was first
        if self._fs.read(aside) != raw:  # and has made it again: put that back
            self._fs.create_if_absent(_path(name), self._fs.read(aside))
            self._fs.delete(aside)
            return
        _log.warning("damaged run record %s (%s): kept in %s", name, reason, aside)

    def names(self) -> frozenset[str]:
        """Names of kept runs, whether or not their records can be read.

        One whose damaged record was set aside is kept as well: nobody dropped it.
        """
        lost = (_LOST.fullmatch(name) for name in self._fs.names("damaged"))
        return frozenset(
            [name.removesuffix(".json") for name in self._names_in("runs")]
            + [match[1] for match in lost if match and match[1] not in self.dropped()]
        )

    def dropped(self) -> frozenset[str]:
        """Names of dropped runs that were not recorded again."""
        kept = set(self._names_in("runs"))
        return frozenset(
            name.removesuffix(".json") for name in self._names_in("dropped") if name not in kept
        )

    def _names_in(self, folder: str) -> Sequence[str]:
        return [name for name in self._fs.names(folder) if _FILE.fullmatch(name)]

    def list(self) -> tuple[RunRecord, ...]:
        """Every kept run, oldest first."""
        names = (name.removesuffix(".json") for name in self._fs.names("runs"))
        found = (self.read(name) for name in names if _NAME.fullmatch(name))
        return tuple(sorted((run for run in found if run), key=lambda r: (r.created_at, r.name)))


def _to_bytes(record: RunRecord) -> bytes:
    """Without ``keeps`` where there are none."""
    plain = to_plain(record)
    if not record.keeps:
        del plain["keeps"]
    return records.to_bytes(plain)


def _require_same(name: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    if canonical_json(known) == canonical_json(asked):
        return
    changes = [f"{path} is {old} there and {new} here" for path, old, new in _changes(known, asked)]
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    raise BadInput(
        f"name={name} stands for a run with another configuration "
        f"({'; '.join(changes[:_SHOWN])}{more}): another name, or the same configuration"
    )


def _changes(left: Any, right: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted paths whose values differ."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in sorted({*left, *right}):
            inner = f"{path}.{key}" if path else str(key)
            yield from _changes(left.get(key, "absent"), right.get(key, "absent"), inner)
    elif canonical_json(left) != canonical_json(right):
        yield path, left, right


def check_name(name: str) -> str:
    """The name itself; raises BadInput for one that no run may have."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"name={name} is not allowed: up to 128 of A-Z a-z 0-9 . _ -, not beginning with a dot"
        )
    return name


def _dropped(name: str) -> str:
    return f"dropped/{name}.json"


def _path(name: str) -> str:
    return f"runs/{name}.json"
