"""Whether a Ray cluster can be joined, asked before anything is started.

``ray.init`` tries an address that nobody answers for a quarter of an hour. One question to the
head node tells within seconds whether it is there, takes the token, and runs the same Ray.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from had_core.errors import BadInput

_PATIENCE_S = 10.0
_HOST_AND_PORT = re.compile(r"[^\s/]+:\d{1,5}")
_ASK = (
    "allowed: HOST:PORT of the head node of a running Ray cluster, or auto for the one on this "
    "machine"
)


def check_joinable(address: str, patience_s: float = _PATIENCE_S) -> str:
    """``host:port`` of the head node that ``address`` stands for.

    Raises:
        BadInput: no such address, nobody answers within ``patience_s``, the token is refused, or
            the cluster runs another version of Ray.
    """
    import ray

    head = _head(address)
    theirs = _version(address, head, patience_s)
    if theirs != ray.__version__:
        raise BadInput(
            f"cluster.address={address} runs Ray {theirs}, this is Ray {ray.__version__}: "
            "the same version is needed on both sides"
        )
    return head


def _head(address: str) -> str:
    from ray._private.services import canonicalize_bootstrap_address

    if address != "auto" and not _HOST_AND_PORT.fullmatch(address):
        raise BadInput(f"cluster.address={address} cannot be used; {_ASK}")
    try:
        head = canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError, OSError) as error:
        raise BadInput(f"cluster.address={address} cannot be used ({error}); {_ASK}") from error
    if head is None:
        raise BadInput(f"cluster.address={address} finds no running cluster; {_ASK}")
    return str(head)


def _version(address: str, head: str, patience_s: float) -> str:
    """What Ray the head node runs, by its own answer."""
    from ray._private.grpc_utils import init_grpc_channel

    grpc: Any = importlib.import_module("grpc")  # comes with Ray, without types
    messages: Any = importlib.import_module("ray.core.generated.gcs_service_pb2")
    services: Any = importlib.import_module("ray.core.generated.gcs_service_pb2_grpc")
    try:
        # A proxy for the internet is none for a cluster.
        channel: Any = init_grpc_channel(head, options=[("grpc.enable_http_proxy", 0)])
    except Exception as error:  # Ray's own, of many kinds: no token where one is asked for
        raise BadInput(f"cluster.address={address} cannot be joined: {_line(error)}") from error
    with channel:
        stub = services.NodeInfoGcsServiceStub(channel)
        try:
            request = messages.CheckAliveRequest()
            reply = stub.CheckAlive(request, timeout=patience_s)
        except grpc.RpcError as error:
            raise BadInput(_refusal(address, error, patience_s)) from error
    return str(reply.ray_version)


def _refusal(address: str, error: Any, patience_s: float) -> str:
    code = error.code().name
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return (
            f"cluster.address={address} refuses the token ({_line(error.details())}): set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file that holds the cluster's token"
        )
    if code == "DEADLINE_EXCEEDED":
        return f"cluster.address={address} does not answer within {patience_s:.0f} s; {_ASK}"
    return f"cluster.address={address} cannot be reached ({_line(error.details())}); {_ASK}"


def _line(message: object) -> str:
    return " ".join(str(message).split())[:200].rstrip(".")
