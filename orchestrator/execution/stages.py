"""The stages that a queue knows, with what its decisions need kept up to date.

Every question that is asked for each granted stage costs O(log n) or less: the next ready stage
comes from a heap, chain lengths are corrected along one path when a stage begins or ends, a
waiter's stages are indexed. Pure bookkeeping; the rules are in ``policy``.
"""

from __future__ import annotations

import enum
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator.execution.messages import Lease, Outcome, StageWork

_SLACK = 64  # outdated heap entries that are not worth clearing away


class StageState(enum.Enum):
    WAITING = "waiting"
    LEASED = "leased"
    SEALED = "sealed"
    FAILED = "failed"
    DROPPED = "dropped"

    @property
    def is_open(self) -> bool:
        return self in (StageState.WAITING, StageState.LEASED)


@dataclass(eq=False)
class Stage:
    """What is known of one key.

    Attributes:
        order: ascending in order of submission.
        leases: ever given; the attempt number of the newest.
        failures: of the retried kinds, since the last time it was sealed.
        remade: times its sealed artefacts turned out damaged.
        deferred: times it was put off because another driver executes it.
        chain: stages on the longest chain of open stages that starts here; 0 once it ended.
        below: chain lengths of its open children, with how many have each.
    """

    work: StageWork
    order: int
    state: StageState
    waiters: set[str] = field(default_factory=set)
    leases: int = 0
    failures: int = 0
    remade: int = 0
    deferred: int = 0
    lease: Lease | None = None
    outcome: Outcome | None = None
    chain: int = 0
    below: Counter[int] = field(default_factory=Counter)

    @property
    def key(self) -> str:
        return self.work.key

    @property
    def place(self) -> StageWork:
        """The work without its spec."""
        return replace(self.work, spec={})

    @property
    def rank(self) -> tuple[int, int, int]:
        """Of ready stages the one with the lowest goes first."""
        return self.deferred, -self.chain, self.order


class Stages:
    """All known stages; the only place that changes a stage's state or waiters."""

    def __init__(self) -> None:
        self.open = 0
        self._stages: dict[str, Stage] = {}
        self._children: dict[str, dict[str, None]] = {}  # by the parent's key, known or not
        self._wants: dict[str, dict[str, None]] = {}  # keys by waiter
        self._heap: list[tuple[tuple[int, int, int], str]] = []
        self._count = 0

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def get(self, key: str | None) -> Stage | None:
        return self._stages.get(key) if key is not None else None

    def parent(self, stage: Stage) -> Stage | None:
        return self.get(stage.work.parent)

    def children(self, stage: Stage) -> list[Stage]:
        """The known ones, in the order in which they were submitted."""
        return [self._stages[key] for key in self._children.get(stage.key, ())]

    def wanted_by(self, waiter: str) -> list[Stage]:
        return [self._stages[key] for key in self._wants.get(waiter, ())]

    @property
    def waiters(self) -> list[str]:
        return list(self._wants)

    # Changes ------------------------------------------------------------------------------------

    def add(self, work: StageWork, state: StageState) -> Stage:
        """A stage that is not known."""
        self._count += 1
        stage = Stage(work, self._count, state)
        self._stages[work.key] = stage
        if work.parent is not None:
            self._children.setdefault(work.parent, {})[work.key] = None
        stage.below.update(child.chain for child in self.children(stage) if child.chain)
        if state.is_open:
            self._opened(stage)
        return stage

    def move(self, stage: Stage, state: StageState) -> None:
        """Change its state, and with it what is open, ready and how long chains are."""
        was_open, stage.state = stage.state.is_open, state
        if state.is_open and not was_open:
            self._opened(stage)
        elif was_open and not state.is_open:
            self.open -= 1
            self._stretch(stage, 0)
        if state is StageState.WAITING:
            self._offer(stage)
        elif state is StageState.SEALED:
            for child in self.children(stage):
                self._offer(child)

    def want(self, stage: Stage, waiter: str) -> None:
        """Whoever wants an open stage wants all that has to be made before it."""
        wanted: Stage | None = stage
        while wanted is not None:
            wanted.waiters.add(waiter)
            self._wants.setdefault(waiter, {})[wanted.key] = None
            parent = self.parent(wanted) if wanted.state.is_open else None
            wanted = parent if parent is not None and parent.state.is_open else None

    def unwant(self, waiter: str) -> list[Stage]:
        """Take the waiter's name off everything; the stages that nobody wants now."""
        stages = self.wanted_by(waiter)
        self._wants.pop(waiter, None)
        for stage in stages:
            stage.waiters.discard(waiter)
        return [stage for stage in stages if not stage.waiters]

    def forget(self, stage: Stage) -> None:
        """An ended stage that nobody wants."""
        del self._stages[stage.key]
        if stage.work.parent is not None:
            siblings = self._children[stage.work.parent]
            del siblings[stage.key]
            if not siblings:
                del self._children[stage.work.parent]

    # Ready stages -------------------------------------------------------------------------------

    def is_ready(self, stage: Stage) -> bool:
        """Waiting, and its parent is sealed; a parent that is not known counts as sealed."""
        if stage.state is not StageState.WAITING:
            return False
        parent = self.parent(stage)
        return parent is None or parent.state is StageState.SEALED

    def first_ready(self) -> Stage | None:
        """The one with the lowest rank."""
        while self._heap:
            rank, key = self._heap[0]
            stage = self._stages.get(key)
            if stage is not None and stage.rank == rank and self.is_ready(stage):
                return stage
            heapq.heappop(self._heap)  # it has another entry if it is ready
        return None

    def _offer(self, stage: Stage) -> None:
        if not self.is_ready(stage):
            return
        heapq.heappush(self._heap, (stage.rank, stage.key))
        if len(self._heap) > 2 * self.open + _SLACK:
            self._heap = [(s.rank, s.key) for s in self if self.is_ready(s)]
            heapq.heapify(self._heap)

    # Chains -------------------------------------------------------------------------------------

    def _opened(self, stage: Stage) -> None:
        self.open += 1
        needing = [child for child in self.children(stage) if child.state.is_open]
        for waiter in set[str]().union(stage.waiters, *(child.waiters for child in needing)):
            self.want(stage, waiter)
        self._stretch(stage, 1 + max(stage.below, default=0))

    def _stretch(self, stage: Stage, chain: int) -> None:
        """Give the stage's chain another length, and the chains above it theirs."""
        while stage.chain != chain:
            before, stage.chain = stage.chain, chain
            self._offer(stage)
            parent = self.parent(stage)
            if parent is None:
                return
            if before:
                parent.below[before] -= 1
                if not parent.below[before]:
                    del parent.below[before]
            if chain:
                parent.below[chain] += 1
            if not parent.state.is_open:
                return
            stage, chain = parent, 1 + max(parent.below, default=0)
