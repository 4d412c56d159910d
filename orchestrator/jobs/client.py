"""Ray's Jobs API: the port that the rest of the room uses, and its one adapter over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from had_core.errors import BadInput, HadError
from orchestrator.jobs.job import Job, JobSpec
from orchestrator.jobs.shipping import ENTRYPOINT, JOB_ENVIRONMENT
from orchestrator.jobs.target import Target

_TIMEOUT_S = 60.0
_FIRST_TIMEOUT_S = 20.0
# On a busy machine what starts jobs comes up long after the dashboard that passes them on.
_AGENT_S = 180.0
_NO_AGENT = ("No available agent", "Cannot connect to host", "TimeoutError")
_REDIRECTING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


class IdTaken(HadError):
    """A submission id that this cluster has seen before."""


class ConnectionLost(HadError):
    """The cluster does not answer any more; its jobs may well go on."""


class NoAgent(HadError):
    """The cluster's dashboard is up, but not what executes jobs on its head."""


class JobsApi(Protocol):
    """What a cluster offers. Operations raise ConnectionLost where it stops answering."""

    def list(self) -> Sequence[Job]:
        """Every job that was submitted, in any order."""
        ...

    def get(self, job_id: str) -> Job:
        """The job as it stands now. Raises BadInput where there is none."""
        ...

    def submit(self, job_id: str, spec: JobSpec, package: Path) -> None:
        """Start it. Raises IdTaken for an id that was used before."""
        ...

    def stop(self, job_id: str) -> None:
        """Ask it to end; returns at once."""
        ...

    def read_log(self, job_id: str) -> str:
        """Everything it has written so far."""
        ...

    def tail(self, job_id: str, idle_s: float) -> Iterator[str | None]:
        """What it writes, from the first character, in pieces of any length, until it ends.

        Yields None whenever nothing came for ``idle_s``, so that one can look after the job.
        """
        ...

    def head(self) -> str | None:
        """IP of the head node as the other nodes see it; None where the cluster does not tell."""
        ...


def connect(target: Target) -> JobsApi:
    """The cluster's Jobs API, once it is certain that it can be used from here.

    Raises:
        BadInput: nobody answers, the token is refused, or Ray or Python are of another version.
    """
    return _RayJobs(target)


class _RayJobs:
    """Over Ray's own client; imports Ray, which takes a second."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = _client(target)
        self._check_versions()

    def list(self) -> Sequence[Job]:
        with self._answered():
            found = self._client.list_jobs()
        return [_job(details) for details in found if details.submission_id]

    def get(self, job_id: str) -> Job:
        with self._answered(about=job_id):
            return _job(self._client.get_job_info(job_id))

    def submit(self, job_id: str, spec: JobSpec, package: Path) -> None:
        def ask() -> None:
            self._client.submit_job(
                entrypoint=ENTRYPOINT,
                submission_id=job_id,
                metadata=spec.metadata,
                runtime_env={"working_dir": str(package), "env_vars": dict(JOB_ENVIRONMENT)},
            )

        self._once_there_is_an_agent(ask)

    def stop(self, job_id: str) -> None:
        self._once_there_is_an_agent(lambda: self._client.stop_job(job_id), about=job_id)

    def read_log(self, job_id: str) -> str:
        with self._answered(about=job_id):
            return str(self._client.get_job_logs(job_id))

    def tail(self, job_id: str, idle_s: float) -> Iterator[str | None]:
        with self._answered(about=job_id), asyncio.Runner() as runner:
            pieces = self._client.tail_job_logs(job_id)
            while True:
                coming = runner.get_loop().create_task(_next_of(pieces))
                try:
                    while not runner.run(_settled(coming, idle_s)):
                        yield None
                finally:
                    coming.cancel()
                text = coming.result()
                if text is None:
                    return
                yield text

    def head(self) -> str | None:
        try:
            with self._answered():
                nodes = self._get("/nodes?view=summary")["data"]["summary"]
        except (HadError, KeyError, TypeError):
            return None
        heads = [node for node in nodes if node.get("raylet", {}).get("isHeadNode")]
        return str(heads[0]["ip"]) if heads else None

    def _once_there_is_an_agent(self, ask: Callable[[], Any], about: str = "") -> None:
        deadline = time.monotonic() + _AGENT_S
        while True:
            try:
                with self._answered(about):
                    ask()
                return
            except NoAgent:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1.0)

    def _check_versions(self) -> None:
        import ray

        theirs = self._client.ray_version
        if theirs != ray.__version__:
            raise BadInput(
                f"the cluster at {self._target.url} runs Ray {theirs}, this is Ray "
                f"{ray.__version__}: the same version is needed on both sides"
            )
        with self._answered():
            python = self._get("/api/v0/cluster_metadata").get("data", {}).get("pythonVersion", "")
        mine = platform.python_version()
        if python and python.split(".")[:2] != mine.split(".")[:2]:
            raise BadInput(
                f"the cluster at {self._target.url} runs Python {python}, this is Python {mine}: "
                "the same minor version is needed on both sides"
            )

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._client._do_request("GET", path)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    @contextlib.contextmanager
    def _answered(self, about: str = "") -> Iterator[None]:
        """Ray's many errors as ours."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError:
            raise _refused(self._target) from None
        except OSError as error:
            raise self._lost(error) from None
        except RuntimeError as error:
            text = str(error)
            if about and "does not exist" in text:
                raise BadInput(f"job {about} is not known there: had jobs lists them") from None
            if text.startswith("WebSocket"):
                raise self._lost(error) from None
            if any(words in text for words in _NO_AGENT):
                raise NoAgent(
                    f"the cluster at {self._target.url} has no job agent on its head that answers "
                    f"({_brief(error)})"
                ) from None
            if "already exists" in text:
                raise IdTaken("the submission id exists already") from None
            raise HadError(f"the cluster at {self._target.url} answered: {_brief(error)}") from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "aiohttp":
                raise self._lost(error) from None
            raise

    def _lost(self, error: Exception) -> ConnectionLost:
        return ConnectionLost(
            f"the cluster at {self._target.url} does not answer any more ({_brief(error)})"
        )


async def _next_of(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


async def _settled(task: asyncio.Task[Any], patience_s: float) -> bool:
    done, _ = await asyncio.wait([task], timeout=patience_s)
    return bool(done)


def _client(target: Target) -> Any:
    from ray.dashboard.modules.job.sdk import JobSubmissionClient
    from ray.exceptions import AuthenticationError

    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)

    class Client(JobSubmissionClient):
        """With an end to waiting, and the server's version."""

        patience_s = _FIRST_TIMEOUT_S

        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            options.setdefault("timeout", self.patience_s)
            return super()._do_request(method, endpoint, **options)

        @property
        def ray_version(self) -> str:
            return str(self._server_ray_version)

    headers = {} if target.token is None else {"Authorization": f"Bearer {target.token}"}
    try:
        with _without(_REDIRECTING):
            client = Client(target.url, headers=headers)
    except AuthenticationError:
        raise _refused(target) from None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise BadInput(_unreachable(target, error)) from None
    client.patience_s = _TIMEOUT_S
    client._ssl_context = True  # type: ignore[assignment]  # None, which Ray leaves there, means the same and warns
    return client


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Ray's client goes where these lead, whatever address it is given."""
    taken: Mapping[str, str] = {n: os.environ.pop(n) for n in names if n in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _unreachable(target: Target, error: Exception) -> str:
    hint = "had cluster up --local 3 starts one here"
    if target.is_loopback:
        hint += ", ssh -N -L 8265:127.0.0.1:8265 USER@HEAD opens a way to one elsewhere"
    if isinstance(error, (KeyError, ValueError, RuntimeError)):
        return f"{target.url} is not the dashboard of a Ray cluster ({_brief(error)}): {hint}"
    return f"the cluster at {target.url} cannot be reached ({type(error).__name__}): {hint}"


def _refused(target: Target) -> BadInput:
    if target.token is None:
        return BadInput(
            f"the cluster at {target.url} wants a token: name its file with --token-path or "
            "RAY_AUTH_TOKEN_PATH"
        )
    return BadInput(f"the cluster at {target.url} refuses the token of {target.source}")


def _job(details: Any) -> Job:
    names = (
        *("submission_id", "status", "metadata", "start_time", "end_time"),
        *("driver_exit_code", "message"),
    )
    values = {name: getattr(details, name) for name in names}
    values["status"] = getattr(values["status"], "value", values["status"])
    return Job.of(values)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return lines[-1 if "Traceback" in lines[0] else 0][:200]
