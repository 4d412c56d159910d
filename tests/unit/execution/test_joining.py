"""A cluster that cannot be joined is told so within seconds, in one sentence."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from had_core.errors import BadInput
from orchestrator.execution.environment import environment
from orchestrator.execution.joining import check_joinable

grpc = pytest.importorskip("grpc")


@pytest.fixture(autouse=True)
def loopback():
    """Ray would look for 127.0.0.1 at the machine's outside address."""
    with environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}):
        yield


@contextmanager
def head_node(version: str = "", refuses: str = "") -> Iterator[str]:
    """Answers the one question as a head node does."""
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    class Head(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
        def CheckAlive(self, request, context):
            if refuses:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, refuses)
            return gcs_service_pb2.CheckAliveReply(ray_version=version)

    server = grpc.server(ThreadPoolExecutor(1))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(Head(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def test_the_same_version_is_joined():
    import ray

    with head_node(version=ray.__version__) as address:
        assert check_joinable(address) == address


def test_another_version():
    with (
        head_node(version="2.9.0") as address,
        pytest.raises(BadInput, match=r"runs Ray 2\.9\.0, this is Ray .*the same version"),
    ):
        check_joinable(address)


def test_a_wrong_token():
    with (
        head_node(refuses="bad token") as address,
        pytest.raises(BadInput, match=r"refuses the token \(bad token\): set RAY_AUTH_MODE=token"),
    ):
        check_joinable(address)


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(BadInput, match=f"{address} cannot be reached .* allowed: HOST:PORT"):
            check_joinable(address)


def test_somebody_listens_and_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BadInput, match=f"{address} (does not answer|cannot be reached)"):
            check_joinable(address, patience_s=0.1)


@pytest.mark.parametrize("address", ["ray://host:10001", "host", ":6379", "host:port", "a b:1", ""])
def test_no_address_at_all(address):
    with pytest.raises(BadInput, match=f"^cluster.address={address} cannot be used; allowed"):
        check_joinable(address)
