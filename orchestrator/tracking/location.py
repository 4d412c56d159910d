"""Where MLflow keeps its data, and a client for it.

The default is one sqlite file with an artifact folder beside it, inside the store, so that a store
is complete by itself. The file is built aside and put in place whole: two drivers that use a store
for the first time at once do not race through its migrations, and a driver killed meanwhile leaves
nothing half-made.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from had_core.errors import BadInput
from orchestrator.tracking.files import open_folder
from orchestrator.tracking.locks import FileLock
from orchestrator.tracking.moved import follow_move
from orchestrator.tracking.unreadable import set_unreadable_aside

if TYPE_CHECKING:
    from mlflow.tracking.client import MlflowClient

_SQLITE = "sqlite:///"
_SERVERS = ("http://", "https://", "databricks")
# As SQLAlchemy takes it apart, with a port that is a number: passwords hold what URLs may not.
_DATABASE = re.compile(
    r"(postgresql|mysql|mssql)(\+\w+)?://([^:/]*(:[^@]*)?@)?(\[[^/?]+\]|[^/:?]+)?(:\d*)?([/?].*)?"
)
_SQLITE_MAGIC = b"SQLite format 3\0"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the journal keeps everything; the writer backs off
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class TrackingLocation:
    """An MLflow tracking store.

    Attributes:
        uri: tracking URI; may hold credentials, see ``shown``.
        artifacts: root of new experiments' artifacts; None where a server decides.
        own: it is the sqlite file inside a store, and is copied and moved with it.
    """

    uri: str
    artifacts: str | None
    own: bool = False

    @classmethod
    def of(cls, store_root: str | Path, uri: str | None = None) -> TrackingLocation:
        """The location for a store; ``uri`` None means sqlite inside the store.

        Raises:
            BadInput: MLflow does not take the URI, or the store is not local and no URI is given.
        """
        if uri is not None:
            require_tracking_uri(uri)
        home = open_folder(store_root, "mlflow").local
        if uri is None:
            if home is None:
                raise BadInput(
                    f"tracking.uri is needed for the store '{redact(str(store_root))}': the URI "
                    "of an MLflow server, because sqlite needs a local folder"
                )
            return cls(f"{_SQLITE}{home}/mlflow.db", str(home / "artifacts"), own=True)
        if uri.startswith(_SERVERS):
            return cls(uri, None)
        if uri.startswith(_SQLITE):
            path = Path(uri.removeprefix(_SQLITE)).absolute()
            return cls(f"{_SQLITE}{path}", str(path.parent / "artifacts"))
        folder = f"{str(store_root).rstrip('/')}/mlflow/artifacts"
        return cls(uri, str(home / "artifacts") if home else folder)

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(_SERVERS)

    @property
    def shown(self) -> str:
        """The URI without credentials."""
        return redact(self.uri)

    @property
    def file(self) -> Path | None:
        """The sqlite file, None for anything else."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    def prepare(self) -> None:
        """Create the sqlite file if it is missing; takes seconds the first time.

        A store's own one that is damaged is set aside, and one that came with a copied or moved
        store is told where its artifacts lie now.
        """
        if self.file is None:
            return
        if self.own:
            set_unreadable_aside(self.file)
        if not self.file.exists():
            _create_database(self.file, self.artifacts or str(self.file.parent / "artifacts"))
        elif self.own:
            follow_move(self.file)

    def client(self) -> MlflowClient:
        """A client with explicit URIs; imports MLflow, which takes seconds."""
        quiet_environment()
        self.prepare()
        from mlflow.tracking.client import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


def require_tracking_uri(uri: str) -> None:
    """Raise BadInput where MLflow can never take the URI; asks no server and looks at no file."""
    sqlite = uri.removeprefix(_SQLITE)
    if not (_is_server(uri) or sqlite not in ("", uri) or _DATABASE.fullmatch(uri)):
        raise BadInput(
            f"tracking.uri={redact(uri)} is not allowed: http(s)://HOST[:PORT]..., "
            "sqlite:///FILE, postgresql://..., mysql://... or mssql://..."
        )


def require_usable_uri(uri: str) -> None:
    """``require_tracking_uri``, and of a sqlite file that it is one or can be made."""
    require_tracking_uri(uri)
    if uri.startswith(_SQLITE):
        require_sqlite("tracking.uri", uri, Path(uri.removeprefix(_SQLITE).partition("?")[0]))


def require_sqlite(key: str, uri: str, path: Path) -> None:
    """Raise BadInput where ``path``, which ``key=uri`` names, is no database and none can be
    made there; writes nothing."""
    trouble = _trouble_with(path.absolute())
    if trouble is not None:
        raise BadInput(
            f"{key}={redact(uri)} is not allowed: {trouble}; name a file of sqlite, or one that "
            "can be made"
        )


def _trouble_with(path: Path) -> str | None:
    """What keeps sqlite from ever opening the file; None for nothing."""
    from orchestrator.store.making import trouble_making

    try:
        if not path.exists():
            return trouble_making(path.parent)
        if not path.is_file():
            return f"{path} is no regular file"
        with path.open("rb") as file:
            begin = file.read(len(_SQLITE_MAGIC))
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return None if begin in (b"", _SQLITE_MAGIC) else f"{path} is no sqlite database"


def _is_server(uri: str) -> bool:
    """Whether the URI names a server, and can be read as one."""
    if uri == "databricks" or uri.startswith("databricks://"):
        return True
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port  # raises for what is no number
    except ValueError:
        return False
    return uri.startswith(("http://", "https://")) and bool(host) and not re.search(r"\s", uri)


def quiet_environment() -> None:
    """Settings that MLflow reads at import; what the user set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def redact(text: str) -> str:
    """``text`` without passwords and tokens of URIs in it.

    >>> redact("postgresql://ada:secret@db/mlflow")
    'postgresql://***@db/mlflow'
    """
    text = re.sub(r"(?<=://)[^/\s'\"]*@", "***@", text)
    return re.sub(r"(?i)\b(password|passwd|pwd|token|secret|key)=[^&\s'\"]+", r"\1=***", text)


def _create_database(path: Path, artifacts: str) -> None:
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    lock.acquire(wait=True)
    try:
        if not path.exists():
            _build_database(path, artifacts)
    finally:
        lock.release()


def _build_database(path: Path, artifacts: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for leftover in path.parent.glob(f".{path.name}.[0-9]*"):
        leftover.unlink()  # of a process that was killed while it held the lock
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    store = SqlAlchemyStore(f"{_SQLITE}{temp}", artifacts)
    store._dispose_engine()
    os.replace(temp, path)
