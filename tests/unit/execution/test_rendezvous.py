"""The meeting place of a lane's workers is open at one address alone."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest
import torch
from killing_fs import join_child, start_child
from processes import listening

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rendezvous():
    """Brings Ray Train: where these tests are run alone."""
    from orchestrator.execution import rendezvous

    return rendezvous


def _rank(rendezvous: ModuleType, rank: int, folder: Path) -> None:
    """Meet the other rank, write down what both say together, and wait to be killed."""
    torch.set_num_threads(1)
    place = folder / "port"
    if rank == 0:
        with patch("ray.util.get_node_ip_address", lambda: "127.0.0.1"):
            host, port = rendezvous.open_store(60)
        _publish(place, str(port))
    else:
        host, port = "127.0.0.1", int(_wait_for(place))
    rendezvous._point_to(host, port)
    torch.distributed.init_process_group(
        "gloo", rank=rank, world_size=2, init_method="env://", timeout=timedelta(seconds=60)
    )
    value = torch.ones(1)
    torch.distributed.all_reduce(value)
    _publish(folder / f"{rank}", str(int(value)))
    signal.pause()


def _publish(path: Path, text: str) -> None:
    path.with_suffix(".part").write_text(text)
    path.with_suffix(".part").rename(path)


def _wait_for(path: Path) -> str:
    for _ in range(6000):
        if path.exists():
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path.name} was never written")


def test_two_ranks_meet_where_nobody_else_can_come(rendezvous, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    ranks = [start_child(partial(_rank, rendezvous, rank, tmp_path)) for rank in range(2)]
    try:
        assert [_wait_for(tmp_path / f"{rank}") for rank in range(2)] == ["2", "2"]
        addresses = listening(set(ranks))
        assert addresses == {"0100007F"}
    finally:
        for rank in ranks:
            os.kill(rank, signal.SIGKILL)
            join_child(rank)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_at_one_address(rendezvous, host):
    with rendezvous.listen_at(host) as listener:
        assert listener.getsockname()[0] == host


def test_an_address_that_is_not_this_machines_own(rendezvous):
    with rendezvous.listen_at("192.0.2.77") as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
