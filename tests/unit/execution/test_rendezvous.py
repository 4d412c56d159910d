"""The meeting place of a lane's workers is open at one address alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import listening

from orchestrator.execution.rendezvous import listen_at

ROOT = Path(__file__).resolve().parents[3]
RANK = """
import os, sys
from datetime import timedelta
from unittest.mock import patch
import torch
from orchestrator.execution import rendezvous

rank = int(sys.argv[1])
if rank == 0:
    with patch("ray.util.get_node_ip_address", lambda: "127.0.0.1"):
        host, port = rendezvous.open_store(60)
    print(port, flush=True)
else:
    host, port = "127.0.0.1", int(sys.stdin.readline())
rendezvous._point_to(host, port)
torch.distributed.init_process_group(
    "gloo", rank=rank, world_size=2, init_method="env://", timeout=timedelta(seconds=60)
)
value = torch.ones(1)
torch.distributed.all_reduce(value)
print(int(value), flush=True)
sys.stdin.readline()
"""


def test_two_ranks_meet_where_nobody_else_can_come():
    def start(rank: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    ranks = [start(0), start(1)]
    try:
        first, second = ranks
        second.stdin.write(first.stdout.readline())
        second.stdin.flush()
        assert [rank.stdout.readline().strip() for rank in ranks] == ["2", "2"]
        addresses = listening({rank.pid for rank in ranks})
        assert addresses == {"0100007F"}
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_at_one_address(host):
    with listen_at(host) as listener:
        assert listener.getsockname()[0] == host


def test_an_address_that_is_not_this_machines_own():
    with listen_at("192.0.2.77") as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
