"""MLflow runs by identity: found before they are made, so that repeats make no second one.

Every run carries its uid (``had.uid``) and, once complete, the digest of the record that it shows
(``had.synced``): MLflow itself says what is done, so that no cursor can go out of step with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from had_core.errors import HadError
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.records import RunRecord

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking.client import MlflowClient

S = TypeVar("S")
PAGE = 500
# Lets the UI open with what belongs to trained models, not to agents and prompts.
_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}


class TrackingTrouble(HadError):
    """MLflow is reachable, but a person has to do something before runs can be written."""


class RunsLost(HadError):
    """MLflow holds no longer what was written there: all has to be written again."""


@dataclass(slots=True)
class KnownRun:
    """An MLflow run of this journal and what is known to be in it.

    Attributes:
        synced: digest of the record that it shows in full.
        body: digest of that record without its late tags, if this process wrote it.
        resting: shown in full, and tags and params were forgotten; ``wake`` before changing it.
        fresh: made by this process, which has seen every call on it succeed.
        linked: data set and model inputs are logged.
        sent: points (and whether for the model too) and artifacts that are surely there.
    """

    run_id: str
    status: str
    end_ms: int | None
    synced: str | None
    model_id: str | None
    body: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False
    resting: bool = False
    fresh: bool = False
    linked: bool = False
    sent: set[object] | None = None

    @classmethod
    def of(cls, run: Run) -> KnownRun:
        tags = dict(run.data.tags)
        return cls(
            run_id=run.info.run_id,
            status=run.info.status,
            end_ms=run.info.end_time,
            synced=tags.get("had.synced"),
            model_id=tags.get("had.model_id"),
            tags=tags,
            params=dict(run.data.params),
            deleted=run.info.lifecycle_stage != "active",
        )

    def shows(self, record: RunRecord) -> bool:
        """Whether nothing is left to do for ``record``."""
        if self.deleted:
            return True
        there = self.status == record.status and self.end_ms == record.end_ms
        return record.ended and there and self.synced == record.digest

    def lacks_late_tags(self, record: RunRecord) -> bool:
        """Whether all but the late tags of ``record`` is there; for a run that does not show it."""
        return self.resting and not self.deleted and self.body == record.body

    def unsent(self, items: Iterable[S]) -> list[S]:
        """Those that are not surely there yet."""
        return [item for item in items if item not in (self.sent or ())]

    def note(self, items: Iterable[object]) -> None:
        """They are there."""
        self.sent = self.sent or set()
        self.sent.update(items)

    def rest(self, body: str | None = None) -> None:
        """Forget what is only needed to change the run: there may be tens of thousands."""
        self.body = body
        self.tags, self.params, self.sent = {}, {}, None
        self.resting, self.fresh, self.linked = True, False, False


class RunIndex:
    """The runs of one journal in one experiment, and the full runs of any stage anywhere."""

    def __init__(self, client: MlflowClient, experiment_id: str, journal: str) -> None:
        self._client = client
        self.experiment_id = experiment_id
        self._journal = journal
        self._by_uid: dict[str, KnownRun] = {}
        self._full: dict[str, KnownRun] = {}
        self._absent: set[str] = set()
        for run in self._pages([experiment_id], _tag("had.journal", journal), everything=True):
            known = KnownRun.of(run)
            self._keep(run.data.tags.get("had.uid", ""), known)
            if known.synced is not None:
                known.rest()

    def __len__(self) -> int:
        return len(self._by_uid)

    def find(self, uid: str) -> KnownRun | None:
        return self._by_uid.get(uid)

    def wake(self, known: KnownRun) -> None:
        """Read a resting run again, so that it can be changed."""
        if known.resting:
            data = self._client.get_run(known.run_id).data
            known.tags, known.params = dict(data.tags), dict(data.params)
            known.resting = False

    def create(self, record: RunRecord) -> KnownRun:
        """Make the run of ``record``.

        Raises:
            RunsLost: its parent, which was written before, is not there.
        """
        tags = {**record.tags, "had.uid": record.uid, "had.journal": self._journal}
        if record.parent is not None:
            parent = self._by_uid.get(record.parent)
            if parent is None:
                raise RunsLost(f"MLflow has lost the run '{record.parent}' above '{record.uid}'")
            tags["mlflow.parentRunId"] = parent.run_id
        run = self._client.create_run(
            self.experiment_id, start_time=record.start_ms, tags=tags, run_name=record.name
        )
        known = KnownRun.of(run)
        known.fresh = True
        self._keep(record.uid, known)
        return known

    def full(self, stage_key: str) -> KnownRun | None:
        """The run that trained a stage: of this journal, else of any other in MLflow."""
        known = self._full.get(stage_key)
        if known is None and stage_key not in self._absent:
            known = self._elsewhere(stage_key)
            if known is None:
                self._absent.add(stage_key)
            else:
                self._full[stage_key] = known
        return known

    def look_again(self) -> None:
        """Stages that no run had trained may have been trained by others since."""
        self._absent.clear()

    def _elsewhere(self, stage_key: str) -> KnownRun | None:
        everywhere = _everywhere(self._client)
        where = " AND ".join(
            [
                _tag("had.stage_key", stage_key),
                _tag("had.kind", "stage"),
                _tag("had.reused", "false"),
            ]
        )
        runs = [KnownRun.of(run) for run in self._pages(everywhere, where)]
        complete = [run for run in runs if run.model_id]
        return next(iter(complete or runs), None)

    def _keep(self, uid: str, known: KnownRun) -> None:
        # Should a uid ever be there twice (two machines without a common lock), the oldest counts.
        self._by_uid.setdefault(uid, known)
        tags = known.tags
        full = tags.get("had.kind") == "stage" and tags.get("had.reused") == "false"
        if full and not known.deleted:
            key = tags.get("had.stage_key", "")
            self._full.setdefault(key, known)
            self._absent.discard(key)

    def _pages(self, experiments: list[str], where: str, everything: bool = False) -> Iterator[Run]:
        return _pages(self._client, experiments, where, everything)


def journals_of(client: MlflowClient, run: str) -> set[str]:
    """Identities of the journals that MLflow holds runs of, for a run of this name."""
    found = _pages(client, _everywhere(client), _tag("had.run_name", run), everything=True)
    return {journal for each in found if (journal := each.data.tags.get("had.journal"))}


def _everywhere(client: MlflowClient) -> list[str]:
    return [e.experiment_id for e in client.search_experiments(max_results=1000)]


def _pages(
    client: MlflowClient, experiments: list[str], where: str, everything: bool = False
) -> Iterator[Run]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page: Any = client.search_runs(
            experiments,
            filter_string=where,
            run_view_type=ViewType.ALL if everything else ViewType.ACTIVE_ONLY,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def ensure_experiment(client: MlflowClient, name: str, location: TrackingLocation) -> str:
    """Id of the experiment ``name``, made if it is missing.

    Raises:
        TrackingTrouble: the experiment was deleted in MLflow and waits in its bin.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, _artifacts(location, name), _EXPERIMENT))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # another driver was faster
    if experiment is None or experiment.lifecycle_stage != "active":
        raise TrackingTrouble(
            f"the MLflow experiment '{name}' is deleted: restore it or delete it for good "
            "(mlflow gc), its runs are kept in the journal"
        )
    return str(experiment.experiment_id)


def _artifacts(location: TrackingLocation, name: str) -> str | None:
    if location.artifacts is None:
        return None
    folder = re.sub(r"[^A-Za-z0-9._=-]+", "_", name)
    if "://" in location.artifacts:
        return f"{location.artifacts}/{folder}"
    return (Path(location.artifacts) / folder).as_uri()


def _tag(name: str, value: str) -> str:
    return f"tags.`{name}` = '{value}'"
