"""Which stages the kept runs of a store need.

A run needs what its journal names, what it sealed, what its record keeps (a rerun's), and what its
settings plan: a run that was killed, or has not begun, finds the stages it would reuse. A sweep
plans what every trial it ever began wants. Too much is named rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from had_core.errors import HadError
from orchestrator.app.planning import sequences_of
from orchestrator.config import RunConfig, with_params
from orchestrator.plan.bulk import no_collection
from orchestrator.tracking.events import TrialStarted
from orchestrator.tracking.journal import JournalReader, journal_folder, journal_names

if TYPE_CHECKING:
    from orchestrator.store import RunRecord, Store

_DIGESTS = re.compile(rb"[0-9a-f]{64}")


class Needs:
    """Keys of fits that kept runs, registered models and live workers need, sealed or not.

    Args:
        sealed_by: run -> keys of the stages that it sealed.
        data: fingerprints of the training data of the store's sealed stages.
        parents: sealed stage -> the one it starts from.
    """

    def __init__(
        self,
        store: Store,
        sealed_by: dict[str, set[str]],
        data: Iterable[str],
        parents: dict[str, str],
    ) -> None:
        self._store, self._sealed_by, self._parents = store, sealed_by, parents
        self._data = frozenset(data)
        self._seen: dict[str, int] = {}  # run -> segments of its journal when it was read
        self._growing: set[str] = set()  # sweeps, which may come to want more
        self.keys: set[str] = set()

    def refresh(self, own_claim: str = "") -> None:
        """Take in what has come since the last call; cheap where nothing has.

        Args:
            own_claim: a fit that the caller itself has claimed.
        """
        for name in kept_names(self._store):
            if name in self._seen and name not in self._growing:
                continue
            segments = len(journal_folder(self._store.uri, name).names())
            if self._seen.get(name) != segments:
                self._seen[name] = segments
                with no_collection():
                    self._add(self._of_run(name))
        self._add(pin.key for pin in self._store.registered.list())
        self._add(self._store.claims.alive() - {own_claim})

    def _add(self, keys: Iterable[str]) -> None:
        """With their ancestors."""
        for key in keys:
            each: str | None = key
            while each is not None and each not in self.keys:
                self.keys.add(each)
                each = self._parents.get(each)

    def _of_run(self, name: str) -> Iterator[str]:
        yield from self._sealed_by.get(name, ())
        journalled = digests(self._store, name)
        yield from journalled
        record = self._store.runs.read(name)
        if record is None:
            return
        yield from record.keeps
        if not record.keeps:  # a rerun's settings are of single stages, not of sequences
            yield from self._planned(name, record, journalled & self._data)

    def _planned(self, name: str, record: RunRecord, data: frozenset[str]) -> Iterator[str]:
        try:
            config = RunConfig.from_json(record.config)
        except HadError:
            return  # of another version, which planned other keys
        if config.search is not None:
            self._growing.add(name)
        for fingerprint in data or self._data_of(config):
            fingerprints = {"train": fingerprint, "test": fingerprint}  # no fit sees the second
            for each in self._configs(name, config):
                for sequence in sequences_of(each, fingerprints):
                    yield from (stage.key for stage in sequence.stages)

    def _configs(self, name: str, config: RunConfig) -> Iterator[RunConfig]:
        """The run itself; of a sweep every trial's."""
        if config.search is None:
            yield config
            return
        for event in JournalReader.open(self._store.uri, name).events(TrialStarted):
            assert isinstance(event, TrialStarted)
            try:
                yield with_params(config, event.params)
            except HadError:
                continue  # it did not begin to train either

    def _data_of(self, config: RunConfig) -> frozenset[str]:
        """Of a run that has not begun: its data set's, or all there are where that is gone."""
        from had_core.data import DatasetManifest

        try:
            manifest = DatasetManifest.read(Path(config.dataset.path))
        except (HadError, OSError):
            return self._data
        return frozenset({manifest.splits["train"].fingerprint})


def kept_names(store: Store) -> frozenset[str]:
    """Runs that nobody dropped: recorded, or journalled by a run whose record was lost."""
    journals = frozenset(journal_names(store.uri))
    return store.runs.names() | (journals - store.runs.dropped())


def digests(store: Store, run: str) -> frozenset[str]:
    """Everything in a journal that may be a key; damaged segments are read as well."""
    folder = journal_folder(store.uri, run)
    found: set[bytes] = set()
    for name in folder.names():
        if name.endswith(".jsonl"):
            found.update(_DIGESTS.findall(folder.read(name)))
    return frozenset(digest.decode() for digest in found)
