"""From the journal into MLflow: the only writer, and one that can be stopped at any call.

::

    journal segments -> Fold (records) -> MlflowWriter -> MLflow
                                            ^ RunIndex: what is there already

``drain`` brings MLflow to where the journal is. Every step either finds its work done or may be
repeated: runs are looked up by uid, points carry the event's time and are the same points when
they come again, artifacts are written over. After any error everything believed about MLflow is
forgotten and read again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.tracking.drawings import Drawing
from orchestrator.tracking.events import DatasetRef
from orchestrator.tracking.fold import Fold
from orchestrator.tracking.journal import DamagedId, JournalReader, journal_id, restore_id
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.models import ensure_model
from orchestrator.tracking.records import FileRef, Point, RunRecord, dataset_id
from orchestrator.tracking.runs import KnownRun, RunIndex, RunsLost, ensure_experiment, journals_of

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.tracking.client import MlflowClient

T = TypeVar("T")
_log = logging.getLogger(__name__)

PictureSource = Callable[[str, str], bytes | None]
"""(evaluation key, file name) -> PNG bytes, None if the store has them no more."""
FileSource = Callable[[str], bytes | None]
"""Path in the store -> the file's bytes, None if there is none."""

# MLflow takes 1000 entities a call, of them at most 100 parameters and 100 tags.
_METRICS_A_CALL = 800
_PARAMS_A_CALL = 90


@dataclass(frozen=True)
class DrainReport:
    """What one drain did.

    Attributes:
        events: events read from the journal.
        written: MLflow runs that were made or changed.
        damaged: journal segments that cannot be read, of all drains so far.
    """

    events: int
    written: int
    damaged: tuple[str, ...]


class MlflowWriter:
    """Mirrors one journal into one MLflow.

    Only one writer may work on a journal at a time (``writer_lock``).

    Args:
        reader: the journal.
        run: its name.
        location: where MLflow is; the experiment is the recipe that the journal names.
        pictures: where example pictures are read from.
        files: where the tables and plots of a sweep are read from.
        client: instead of one made from ``location``.
    """

    def __init__(
        self,
        reader: JournalReader,
        run: str,
        location: TrackingLocation,
        *,
        pictures: PictureSource | None = None,
        files: FileSource | None = None,
        client: MlflowClient | None = None,
    ) -> None:
        self._reader = reader
        self._run = run
        self._location = location
        self._pictures = pictures or (lambda key, file: None)
        self._files = files or (lambda path: None)
        self._client = client
        self._journal = self._identity()
        self._fold = Fold(self._journal, run, reader.read)
        self._index: RunIndex | None = None
        self._runs = 0  # that MLflow held after the last drain

    def _identity(self) -> str:
        """The journal's id; a damaged one is made again from the store's own MLflow, if it knows.

        No other MLflow is asked: it may hold another store's run of this name.
        """
        try:
            return journal_id(self._reader.folder)
        except DamagedId:
            known = journals_of(self._connected(), self._run) if self._location.own else set()
            if len(known) != 1:
                raise
            (journal,) = known
            restore_id(self._reader.folder, journal)
            _log.warning(
                "id.json of the journal of run '%s' was damaged: made again from MLflow", self._run
            )
            return journal

    def drain(self) -> DrainReport:
        """Write what is new; raises whatever MLflow raises, and may then be called again."""
        entries = self._reader.poll()
        self._fold.add(entries)
        written = 0
        try:
            records = self._fold.changed()
            if records and self._fold.recipe is not None:
                index = self._connect(self._fold.recipe)
                index.look_again()
                for record in records:
                    written += self._write(index, record)
                self._runs = len(index)
        except BaseException as error:
            self._index = None
            self._fold.touch()
            if isinstance(error, RunsLost):  # what was forgotten as done has to come again
                self._runs = 0
                self._reader.rewind()
                self._fold = Fold(self._journal, self._run, self._reader.read)
            raise
        return DrainReport(len(entries), written, tuple(self._reader.damaged))

    def _connect(self, recipe: str) -> RunIndex:
        client = self._connected()
        if self._index is None:
            experiment = ensure_experiment(client, recipe, self._location)
            index = RunIndex(client, experiment, self._journal)
            if len(index) < self._runs:
                raise RunsLost(f"MLflow has {len(index)} of {self._runs} runs that were written")
            self._index = index
        return self._index

    def _connected(self) -> MlflowClient:
        if self._client is None:
            self._client = self._location.client()
        return self._client

    def _write(self, index: RunIndex, record: RunRecord) -> bool:
        """Bring one run to its record; whether anything had to be done."""
        known = index.find(record.uid)
        changed = False
        if known is None or not known.shows(record):
            if known is not None and known.lacks_late_tags(record):
                changed = self._tag(record, known)
            else:
                known, changed = self._bring(index, record, known)
        if known.shows(record):
            known.rest(record.body)
            self._fold.settle(record.uid)
        return changed

    def _tag(self, record: RunRecord, known: KnownRun) -> bool:
        """Bring the late tags to a run that shows the rest; it is not even read for that."""
        from mlflow.entities import RunTag

        assert self._client is not None
        tags = [RunTag(*tag) for tag in {**record.late_tags, "had.synced": record.digest}.items()]
        self._client.log_batch(known.run_id, tags=tags, synchronous=True)
        known.synced = record.digest
        return True

    def _bring(
        self, index: RunIndex, record: RunRecord, known: KnownRun | None
    ) -> tuple[KnownRun, bool]:
        assert self._client is not None
        made = known is None
        if known is None:
            known = index.create(record)
        index.wake(known)
        resolved = self._link(self._client, index, record, known)
        shown = self._log_artifacts(self._client, record, known)
        tags = dict(record.tags)
        if record.reused and record.source_key and (full := index.full(record.source_key)):
            tags["had.reused_from"] = full.run_id
        if record.model is not None and not known.model_id:
            known.model_id = tags["had.model_id"] = ensure_model(
                self._client,
                index.experiment_id,
                known.run_id,
                record.model,
                fresh=known.fresh,
            )
        if record.ended and resolved:
            tags["had.synced"] = record.digest
        counted = _log_numbers(self._client, record, known, tags)
        ended = _set_status(self._client, record, known)
        known.synced = known.tags.get("had.synced")
        return known, made or shown or counted or ended

    def _link(
        self, client: MlflowClient, index: RunIndex, record: RunRecord, known: KnownRun
    ) -> bool:
        """Log data set and model the run starts from; whether that model is known to MLflow."""
        from mlflow.entities import LoggedModelInput

        source = index.full(record.source_key) if record.source_key else None
        model_id = source.model_id if source else None
        resolved = record.source_key is None or model_id is not None
        if known.linked or not (record.dataset or model_id):
            return resolved
        client.log_inputs(
            known.run_id,
            datasets=_dataset_inputs(record.dataset),
            models=[LoggedModelInput(model_id)] if model_id else None,
        )
        known.linked = resolved
        return resolved

    def _log_artifacts(self, client: MlflowClient, record: RunRecord, known: KnownRun) -> bool:
        files = {path: text.encode() for path, text in record.texts.items()}
        if record.ended and (pictures := record.pictures) and known.unsent([pictures]):
            files.update(self._picture_files(record))
        drawings = known.unsent(record.drawings) if record.ended else []
        files.update(self._drawn(drawings))
        sources = known.unsent(record.files)
        files.update(self._store_files(sources))
        new = {path: data for path, data in files.items() if known.unsent([_stamp(path, data)])}
        if new:
            with tempfile.TemporaryDirectory(prefix="had-tracking-") as folder:
                for path, data in new.items():
                    target = Path(folder, path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                client.log_artifacts(known.run_id, folder)
        known.note(_stamp(path, data) for path, data in new.items())
        known.note(sources)
        known.note(drawings)
        if record.ended:
            known.note([record.pictures])
        return bool(new)

    def _store_files(self, files: Sequence[FileRef]) -> dict[str, bytes]:
        found = {}
        for file in files:
            data = self._files(file.source)
            if data is None:
                _log.warning("file %s is not in the store: %s is left out", file.source, file.path)
            else:
                found[file.path] = data
        return found

    def _drawn(self, drawings: Sequence[Drawing]) -> dict[str, bytes]:
        from orchestrator.tracking.drawing import files  # numpy and pillow

        found = [files(drawing, self._pictures) for drawing in drawings]
        return {path: data for each in found for path, data in each.items()}

    def _picture_files(self, record: RunRecord) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for picture in record.pictures:
            data = self._pictures(picture.key, picture.file)
            if data is None:
                _log.warning("picture %s of evaluation %s is missing", picture.file, picture.key)
                continue
            names = (f"examples/{picture.task}{n}.png" for n in ("", *map(str, range(2, 100))))
            files[next(name for name in names if name not in files)] = data
        return files


def _log_numbers(
    client: MlflowClient, record: RunRecord, known: KnownRun, tags: dict[str, str]
) -> bool:
    """Points, parameters and tags that are not there yet; ``had.synced`` with the last call."""
    from mlflow.entities import Metric, Param, RunTag

    model_id = tags.get("had.model_id") or known.model_id
    model = record.model if model_id else None

    def metric(point: Point) -> Metric:
        where = (point.key, point.value, point.time_ms, point.step)
        if model is None or not model.describes(point):
            return Metric(*where)
        name, digest = model.scored_on or (None, None)
        return Metric(*where, model_id=model_id, dataset_name=name, dataset_digest=digest)

    mine = [(p, model_id if model and model.describes(p) else None) for p in record.points]
    points = [point for point, _ in known.unsent(mine)]
    params = [Param(k, v) for k, v in record.params.items() if k not in known.params]
    new_tags = [RunTag(k, v) for k, v in tags.items() if known.tags.get(k) != v]
    pairs = zip_longest(_chunks(points, _METRICS_A_CALL), _chunks(params, _PARAMS_A_CALL))
    calls = [(list(map(metric, p or ())), q or []) for p, q in pairs] or [([], [])]
    for number, (metrics, some_params) in enumerate(calls, start=1):
        last_tags = new_tags if number == len(calls) else []
        if metrics or some_params or last_tags:
            client.log_batch(known.run_id, metrics, some_params, last_tags, synchronous=True)
    known.note(mine)
    known.params = {**known.params, **record.params}
    known.tags.update(tags)
    return bool(points or params or new_tags)


def _set_status(client: MlflowClient, record: RunRecord, known: KnownRun) -> bool:
    if known.status == record.status and (not record.ended or known.end_ms == record.end_ms):
        return False
    if record.ended:
        client.set_terminated(known.run_id, record.status, record.end_ms)
        known.end_ms = record.end_ms
    else:
        client.update_run(known.run_id, status=record.status)
    known.status = record.status
    return True


def _dataset_inputs(dataset: DatasetRef | None) -> list[DatasetInput]:
    """A data set's splits as MLflow inputs, identified by their fingerprints."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if dataset is None:
        return []
    size = f"{dataset.height}x{dataset.width}"
    fields = {"image": f"image {size}", **{t: f"{k} {size}" for t, k in dataset.tasks.items()}}
    schema = {"mlflow_colspec": [{"name": n, "type": kind} for n, kind in fields.items()]}
    return [
        DatasetInput(
            Dataset(
                *dataset_id(dataset, split),
                source_type="local",
                source=json.dumps({"uri": dataset.source}),
                schema=json.dumps(schema),
                profile=json.dumps({"num_rows": dataset.counts.get(split, 0)}),
            ),
            [InputTag("mlflow.data.context", split)],
        )
        for split in dataset.fingerprints
    ]


def _stamp(path: str, data: bytes) -> tuple[str, bytes]:
    return path, hashlib.sha256(data).digest()


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
