"""A sealed stage whose net is a real one, untrained: for commands that compute with a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from made_up_store import MadeUpStore, request
from micro import MICRO_NET

from had_core.building import build_net
from had_core.canonical import to_plain
from had_core.configs import NetConfig, TrainConfig
from had_core.data.rooms.config import TASKS
from had_core.methods import HadConfig
from had_core.tensors import to_bytes
from orchestrator.plan import StageSpec, expand
from orchestrator.store import Store

HEIGHT, WIDTH = 24, 32
ORDER = ("semantic", "depth", "normal", "edge_occlusion")


class SealedNet:
    """A made-up store with one run whose last stage knows a task of every kind."""

    def __init__(
        self, root: Path, net: NetConfig = MICRO_NET, order: Sequence[str] = ORDER
    ) -> None:
        self.made = MadeUpStore(root)
        base = self.made.config("netted", HadConfig(), [tuple(order)], (0,), TrainConfig())
        (sequence,) = expand(request(replace(base, net=net)))
        self.stages: tuple[StageSpec, ...] = sequence.stages
        by_name = {task.name: task for task in TASKS}
        self.tasks = [by_name[name] for name in order]
        self.net = build_net(self.stages[-1].fit.config, self.tasks, None).eval()
        data = {"name": "rooms", "height": HEIGHT, "width": WIDTH, "tasks": to_plain(self.tasks)}
        self.made.nets[self.key] = (to_bytes(self.net.state_dict()), {"data": data})
        self.made.run("netted", orders=[tuple(order)], net=net)

    @property
    def store(self) -> Store:
        return self.made.store

    @property
    def key(self) -> str:
        return self.stages[-1].key
